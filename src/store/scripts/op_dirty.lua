-- An event says that there is news for an operation: whoever holds it looks
-- once more before it rests.
--
-- KEYS  1 operation
--
-- Returns 1 where it is unfinished

local step = redis.call('HGET', KEYS[1], 'step')

if not step or step == 'done' then
    return 0
end

redis.call('HINCRBY', KEYS[1], 'dirty', 1)

return 1
