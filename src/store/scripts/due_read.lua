--@again
--@include lib/time.lua

-- What is due, the longest first.
--
-- KEYS  1 due list
-- ARGV  1 at most so many
--
-- Returns { member, ms overdue, … }

local now = now_ms()
local list = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now),
                        'WITHSCORES', 'LIMIT', 0, ARGV[1])

for i = 2, #list, 2 do
    list[i] = int(now - tonumber(list[i]))
end

return list
