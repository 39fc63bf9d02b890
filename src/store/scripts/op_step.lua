--@include lib/operation.lua

-- Moves an operation on, or writes down where it rests.

--@key op(id)
--@arg step             -- it must be in
--@arg attempt:digits
--@arg fence:digits
--@arg next_step        -- it may be the same
--@arg lease:int        -- ms; 0 gives it back
--@list fields          -- field, value, …; an empty value takes it away

--@reply ok intent dirty
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local now = now_ms()

if next_step ~= step then
    op_next(op_key, next_step, lease, now)
else
    op_lease(op_key, lease, now)
end

for i = 1, #fields, 2 do
    if fields[i + 1] == '' then
        redis.call('HDEL', op_key, fields[i])
    else
        redis.call('HSET', op_key, fields[i], fields[i + 1])
    end
end

local news = redis.call('HMGET', op_key, 'intent', 'dirty')

return { 'ok', news[1] or '', news[2] or '' }
