--@again
--@light
--@include lib/hook.lua

-- The webhooks of a tenant, as clients are shown them; or one of them.

--@key hooks
--@arg id?
--@arg snake:flag

--@row documents...

local now = now_ms()
local reply = {}

for _, each in ipairs(id and { id }
                      or redis.call('ZRANGE', hooks_key, 0, -1))
do
    reply[#reply + 1] = hook_document(hooks_key, each, snake, now)
end

return reply
