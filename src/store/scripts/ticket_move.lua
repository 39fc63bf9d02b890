--@include lib/ticket.lua

-- OPEN -> FULFILLED | CANCELLED, and nothing else.
--
-- KEYS  1 ticket  2 events
-- ARGV  1 status  2 number, or ""
--
-- Returns { "moved"|"same", document } | { "illegal", status }
--       | { "unknown" }

local h = hash(KEYS[1])

if not h then
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
