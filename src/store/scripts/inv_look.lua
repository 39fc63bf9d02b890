--@include lib/time.lua

-- Leases that are old enough to be looked at, each for the next look then.

--@key inv_leases as leases
--@arg most:digits
--@arg delay:int      -- ms until they are looked at again

--@row members... -- "TENANT OPERATION"

local now = now_ms()
local list = redis.call('ZRANGEBYSCORE', leases_key, '-inf', int(now),
                        'LIMIT', 0, most)

for _, member in ipairs(list) do
    redis.call('ZADD', leases_key, int(now + delay), member)
end

return list
