--@include lib/hook.lua

-- Changes a webhook: what is empty stays.  One that is active again is told of
-- all that has happened since it was paused, as far as that is kept.  It
-- is as slow as it was: else this were a way out of the slow lane.

--@key hooks
--@key hook(id)
--@arg id
--@arg url?
--@arg status?
--@arg snake:flag
--@list types     -- none: they stay

--@reply changed document
--@reply type name
--@reply unknown

if redis.call('EXISTS', hook_key) == 0 then
    return 'unknown'
end

local now = now_ms()

if #types > 0 then
    local chosen, name = hook_types(types)

    if not chosen then
        return { 'type', name }
    end

    redis.call('HSET', hook_key, 'types', chosen)
end

if url and url ~= redis.call('HGET', hook_key, 'url') then
    redis.call('HSET', hook_key, 'url', url)
    redis.call('HDEL', hook_key, 'failing')
end

if status and status ~= redis.call('HGET', hook_key, 'status') then
    redis.call('HSET', hook_key, 'status', status)

    if status == 'active' then
        redis.call('HDEL', hook_key, 'failing', 'reason')
    else
        redis.call('HSET', hook_key, 'reason', 'requested')
    end
end

redis.call('HSET', hook_key, 'updated', int(now))

return { 'changed', hook_document(hooks_key, id, snake, now) }
