-- An event says that there is news for an operation: whoever holds it looks
-- once more before it rests.

--@key op(id)

--@value unfinished:int -- 1, or 0

local step = redis.call('HGET', op_key, 'step')

if not step or step == 'done' then
    return 0
end

redis.call('HINCRBY', op_key, 'dirty', 1)

return 1
