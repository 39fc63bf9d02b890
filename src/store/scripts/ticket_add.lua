--@include lib/ticket.lua

-- A wish for a line, as the deprecated endpoint takes it.
--
-- KEYS  1 ticket  2 tickets  3 events  4 tenant
-- ARGV  1 id  2 area code, or ""
--
-- Returns the document, or nil: the tenant was deleted, and nobody would ever
-- delete this one

if redis.call('EXISTS', KEYS[4]) == 0 then
    return false
end

local now = now_ms()
local h = { id = ARGV[1], status = 'OPEN', area = ARGV[2],
            created = int(now) }

ticket_save(KEYS[1], h)
redis.call('ZADD', KEYS[2], int(now), h.id)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*',
           'type', 'ticket.open', 'at', int(now), 'ticket', h.id)

return h.json
