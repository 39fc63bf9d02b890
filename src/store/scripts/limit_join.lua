--@light
--@include lib/time.lua

-- A node is there, and how many share the buckets with it.

--@key limit_nodes
--@arg node
--@arg keep:int -- ms that one counts which is not heard

--@row known:int nodes:int -- known: it was among them all the time

local now = now_ms()

-- anything else under this name makes room
if type(redis.pcall('ZREMRANGEBYSCORE', limit_nodes_key, '-inf',
                    int(now - keep))) == 'table'
then
    redis.call('DEL', limit_nodes_key)
end

-- of a clock that was set back
redis.call('ZREMRANGEBYSCORE', limit_nodes_key, int(now + keep), '+inf')

local known = redis.call('ZSCORE', limit_nodes_key, node)

redis.call('ZADD', limit_nodes_key, int(now), node)
redis.call('PEXPIRE', limit_nodes_key, keep)

return { known and 1 or 0, redis.call('ZCARD', limit_nodes_key) }
