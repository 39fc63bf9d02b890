--@include lib/operation.lua

-- There is news for an operation: it is to be looked at now.

--@key op(id)

--@value unfinished:int -- 1, or 0

local step = redis.call('HGET', op_key, 'step')

if not step or step == 'done' then
    return 0
end

op_wake(op_key)

return 1
