-- The operator wants an operation tried again: it forgets that it is stuck.
--
-- KEYS  1 operation
--
-- Returns step, or "" where there is no such operation

local step = redis.call('HGET', KEYS[1], 'step')

if step then
    redis.call('HDEL', KEYS[1], 'stuck', 'tries')
end

return step or ''
