--@include lib/hook.lua

-- A webhook gets another secret; both sign for a while.

--@key hooks
--@key hook(id)
--@arg id
--@arg secret     -- sealed
--@arg keep:int   -- ms for which the one before signs, too
--@arg snake:flag

--@reply changed document
--@reply unknown

local before = redis.call('HGET', hook_key, 'secret')

if not before then
    return 'unknown'
end

local now = now_ms()

redis.call('HSET', hook_key, 'secret', secret, 'before', before, 'before_until',
           int(now + keep), 'updated', int(now))

return { 'changed', hook_document(hooks_key, id, snake, now) }
