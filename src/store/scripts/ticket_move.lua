--@include lib/ticket.lua

-- OPEN -> FULFILLED | CANCELLED, and nothing else.
--
-- KEYS  1 ticket  2 events  3 tenant
-- ARGV  1 status  2 number, or ""
--
-- Returns { "moved"|"same", document } | { "illegal", status }
--       | { "unknown" }

local h = hash(KEYS[1])

-- a deleted tenant's tickets hold no number any more
if not h or redis.call('EXISTS', KEYS[3]) == 0 then
    return { 'unknown' }
end

if h.status == ARGV[1] and (ARGV[2] == '' or h.number == ARGV[2]) then
    return { 'same', h.json }
end

if h.status ~= 'OPEN' then
    return { 'illegal', h.status }
end

local now = now_ms()

h.status = ARGV[1]

if ARGV[1] == 'FULFILLED' then
    h.number = ARGV[2]
    h.fulfilled = int(now)
end

ticket_save(KEYS[1], h)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*',
           'type', 'ticket.' .. string.lower(ARGV[1]), 'at', int(now),
           'ticket', h.id)

return { 'moved', h.json }
