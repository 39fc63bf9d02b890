--@light
--@include lib/time.lua

-- Tenants whose webhooks are to be looked at now: they are looked at once more
-- when `idle' is over, whatever becomes of this look.  What lies further ahead
-- was written by a clock that has been set back.

--@key hooks_due(shard)
--@arg most:digits
--@arg idle:int -- ms

--@row tenants...

local now = now_ms()
local list = redis.call('ZRANGEBYSCORE', hooks_due_key, '-inf', int(now),
                        'LIMIT', 0, most)

for _, tenant in ipairs(list) do
    redis.call('ZADD', hooks_due_key, int(now + idle), tenant)
end

for _, tenant in ipairs(redis.call('ZRANGEBYSCORE', hooks_due_key,
                                   '(' .. int(now + idle), '+inf', 'LIMIT', 0,
                                   most))
do
    redis.call('ZADD', hooks_due_key, int(now), tenant)
end

return list
