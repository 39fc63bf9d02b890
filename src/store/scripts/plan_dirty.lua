--@include lib/guard.lua

-- Something happened to a workspace's base plan: it is to be read, under a
-- lease of the workspace's own, and read again while it is dirty.
--
-- KEYS  1 operation  2 operations
-- ARGV  1 operation id  2 customer
--
-- Returns the count

local now = now_ms()
local step = redis.call('HGET', KEYS[1], 'step')

if not step or step == 'done' then
    redis.call('HSET', KEYS[1], 'kind', 'plan', 'step', 'read',
               'attempt', 1, 'lease_until', 0, 'begun', int(now))
    redis.call('HINCRBY', KEYS[1], 'fence', 0)
    redis.call('PERSIST', KEYS[1])
    redis.call('SADD', KEYS[2], ARGV[1])
end

redis.call('HSET', KEYS[1], 'customer', ARGV[2])

return redis.call('HINCRBY', KEYS[1], 'dirty', 1)
