--@include lib/operation.lua

-- The operator wants an operation tried again: it forgets that it is stuck.

--@key op(id)

--@value step -- "" where there is no such operation

local step = redis.call('HGET', op_key, 'step')

if step then
    redis.call('HDEL', op_key, 'stuck', 'tries')
    op_wake(op_key)
end

return step or ''
