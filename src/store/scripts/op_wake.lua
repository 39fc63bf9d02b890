--@include lib/operation.lua

-- There is news for an operation: it is to be looked at now.  Where its line has
-- failed by then, it will find that, and end: what gives back is to hear of it.

--@key op(id)
--@key line(id)

--@value unfinished:int -- 0; 1; 2: and its line has failed

local step = redis.call('HGET', op_key, 'step')

if not step or step == 'done' then
    return 0
end

op_wake(op_key)

return redis.call('HGET', line_key, 'status') == 'failed' and 2 or 1
