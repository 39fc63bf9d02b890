--@include lib/tenant.lua
--@include lib/ticket.lua

-- A wish for a line, as the deprecated endpoint takes it.

--@key ticket(id)
--@key tickets
--@key events
--@key tenant
--@key tickets_open
--@key never(id)
--@arg id
--@arg area           -- code, or ""
--@arg most:int?      -- open at a time; none: as many as are wished for

--@reply added document
--@reply full|gone|late|taken
-- gone: the tenant was deleted, and nobody would ever delete this one
-- late: its hint has gone
-- taken: by another ticket; how far the numbers were is lost

-- Looked at longest ago, a few of them each time: a node of the release before
-- moves a ticket and does not say so here.
local FEW = 10


local function look(now)
    local ticket = string.sub(ticket_key, 1, -1 - #id)

    for _, other in ipairs(redis.call('ZRANGE', tickets_open_key, 0, FEW - 1))
    do
        if redis.call('HGET', ticket .. other, 'status') == 'OPEN' then
            redis.call('ZADD', tickets_open_key, int(now), other)
        else
            redis.call('ZREM', tickets_open_key, other)
        end
    end
end


if not tenant_there(tenant_key) then
    return 'gone'
end

if redis.call('EXISTS', never_key) == 1 then
    return 'late'
end

if redis.call('EXISTS', ticket_key) == 1 then
    return 'taken'
end

local now = now_ms()

if most and redis.call('ZCARD', tickets_open_key) >= most then
    look(now)

    if redis.call('ZCARD', tickets_open_key) >= most then
        return 'full'
    end
end

local h = { id = id, status = 'OPEN', area = area,
            created = int(now) }

ticket_save(ticket_key, h)
redis.call('ZADD', tickets_key, int(now), h.id)
redis.call('ZADD', tickets_open_key, int(now), h.id)
event(events_key, now, 'ticket.open', 'ticket', h.id)

return { 'added', h.json }
