--@include lib/operation.lua

-- Something happened to a workspace's base plan: it is to be read, under a
-- lease of the workspace's own, and read again while it is dirty.

--@key op(id)
--@key ops
--@arg id
--@arg customer

--@value count:int

local now = now_ms()
local step = redis.call('HGET', op_key, 'step')

if not step or step == 'done' then
    op_begin(op_key, ops_key, id, 'plan', 'read', 0, now)
end

redis.call('HSET', op_key, 'customer', customer)

return redis.call('HINCRBY', op_key, 'dirty', 1)
