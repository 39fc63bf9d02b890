--@include lib/tenant.lua
--@include lib/ticket.lua

-- A wish for a line, as the deprecated endpoint takes it.

--@key ticket(id)
--@key tickets
--@key events
--@key tenant
--@arg id
--@arg area           -- code, or ""

--@value document?    -- nil: the tenant was deleted, and nobody would ever
                      -- delete this one

if not tenant_there(tenant_key) then
    return false
end

local now = now_ms()
local h = { id = id, status = 'OPEN', area = area,
            created = int(now) }

ticket_save(ticket_key, h)
redis.call('ZADD', tickets_key, int(now), h.id)
redis.call('XADD', events_key, 'MAXLEN', '~', 10000, '*',
           'type', 'ticket.open', 'at', int(now), 'ticket', h.id)

return h.json
