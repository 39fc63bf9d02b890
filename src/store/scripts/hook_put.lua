--@include lib/hook.lua

-- Makes a webhook, which is told of what happens from here on.

--@key tenant
--@key hooks
--@key hook(id)
--@key events
--@arg id
--@arg url
--@arg secret     -- sealed
--@arg most:int   -- webhooks of a tenant
--@arg snake:flag -- its document is of accounts
--@list types

--@reply made document
--@reply type name   -- there is no such type of events
--@reply full|gone

if not tenant_there(tenant_key) then
    return 'gone'
end

if redis.call('ZCARD', hooks_key) >= most then
    return 'full'
end

local chosen, unknown = hook_types(types)

if not chosen then
    return { 'type', unknown }
end

local now = now_ms()
local last = redis.call('LINDEX', events_key, -1)

redis.call('HSET', hook_key, 'url', url, 'types', chosen, 'status', 'active',
           'secret', secret, 'cursor', int(event_id(last)),
           'created', int(now), 'updated', int(now))
redis.call('ZADD', hooks_key, int(now), id)

return { 'made', hook_document(hooks_key, id, snake, now) }
