--@include lib/line.lua

-- The operator ends an active line.  Its status keeps its history; a paid
-- one starts the operation that cancels its billing.
--
-- KEYS  1 line  2 tenant  3 events  4 operation  5 operations
-- ARGV  1 operation id
--
-- Returns { "released"|"same", document, operation begun or "", number }
--       | { "illegal", status } | { "unknown" }

local now = now_ms()
local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

if h.status ~= 'active' then
    return { 'illegal', h.status }
end

if h.released and h.released ~= '' then
    return { 'same', h.json, '', h.number or '' }
end

local changes = { active = '0', released = int(now) }

line_free_place(KEYS[2], h, changes)
line_save(KEYS[1], h, changes, now)

-- a line that lapsed holds its tenant no longer, which may be deleted by now
if redis.call('EXISTS', KEYS[2]) == 1 then
    count_move(KEYS[2], h.status, 'released')
end

event(KEYS[3], now, 'line.released', 'line', h.id, 'from', h.status,
      'to', h.status, 'reason', '')

if not h.subscription or h.subscription == '' then
    return { 'released', h.json, '', h.number or '' }
end

redis.call('HSET', KEYS[4], 'kind', 'release', 'line', h.id,
           'step', 'cancel', 'attempt', 1, 'fence', 0, 'lease_until', 0,
           'subscription', h.subscription, 'invoice', h.invoice or '',
           'begun', int(now))
redis.call('SADD', KEYS[5], ARGV[1])

return { 'released', h.json, ARGV[1], h.number or '' }
