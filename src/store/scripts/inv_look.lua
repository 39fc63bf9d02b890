--@include lib/time.lua

-- Leases that are old enough to be looked at, each for the next look then.
--
-- KEYS  1 leases
-- ARGV  1 at most so many  2 delay (ms) until they are looked at again
--
-- Returns { "tenant operation", … }

local now = now_ms()
local list = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now),
                        'LIMIT', 0, ARGV[1])

for _, member in ipairs(list) do
    redis.call('ZADD', KEYS[1], int(now + tonumber(ARGV[2])), member)
end

return list
