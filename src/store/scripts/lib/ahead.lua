--@include lib/time.lua

-- What happened, by the instant of each, and lies ahead of now was written by a
-- clock that has been set back: it says nothing, would count as what is new once
-- that instant comes, and until then stand before what is new.  Another server
-- that takes over may be behind by a little: that is waited for.

local AHEAD = 60000

local function ahead_drop(key, now)
    redis.call('ZREMRANGEBYSCORE', key, '(' .. int(now + AHEAD), '+inf')
end
