--@include lib/operation.lua

-- Something happened to a workspace's base plan: it is to be read, under a
-- lease of the workspace's own, and read again where this comes meanwhile, from
-- its begin.  What happens to a customer that it had before is none of its own,
-- and ends no look at what the one has that it has now.

--@key op(id)
--@key ops
--@key tenant
--@arg id
--@arg customer

--@value begun:int -- 1, or 0 where it is read already, or is not to be

if redis.call('HGET', tenant_key, 'customer') ~= customer then
    return 0
end

local now = now_ms()
local step = redis.call('HGET', op_key, 'step')

redis.call('HSET', op_key, 'customer', customer)
redis.call('HDEL', op_key, 'price', 'after', 'best', 'plan')

if not step or step == 'done' then
    op_begin(op_key, ops_key, id, 'plan', 'read', 0, now)
    return 1
end

op_wake(op_key)

return 0
