--@light
--@include lib/time.lua

-- What the last survey counted, and whether it is the caller's turn to count:
-- it is old, and nobody else does.

--@key survey
--@key survey_lease
--@arg interval:int  -- ms: older than that is old
--@arg hold:digits   -- ms, for which nobody else does

--@reply ours|known now:int pairs...:ref

local known = redis.call('HGETALL', survey_key)
local at = tonumber(redis.call('HGET', survey_key, 'at')) or 0
local now = now_ms()

-- what lies ahead, or lasts longer than it can, is of a clock that was set back
if redis.call('PTTL', survey_lease_key) > tonumber(hold) then
    redis.call('DEL', survey_lease_key)
end

local ours = (now >= at * 1000 + interval or now < at * 1000 - 1000)
             and redis.call('SET', survey_lease_key, 1, 'NX', 'PX', hold)

return { ours and 'ours' or 'known', int(now), unpack(known) }
