--@include lib/move.lua

-- The operator ends an active line; a paid one starts the operation that
-- cancels its billing.
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

if filled(h.released) then
    return { 'same', line_document(h), '', h.number or '' }
end

if not line_end({ line = KEYS[1], tenant = KEYS[2], events = KEYS[3] }, h,
                'released', now)
then
    return { 'illegal', (line_public(h)) }
end

if not h.subscription or h.subscription == '' then
    return { 'released', h.json, '', h.number or '' }
end

redis.call('HSET', KEYS[4], 'kind', 'release', 'line', h.id,
           'step', 'cancel', 'attempt', 1, 'fence', 0, 'lease_until', 0,
           'subscription', h.subscription, 'invoice', h.invoice or '',
           'begun', int(now))
redis.call('SADD', KEYS[5], ARGV[1])

return { 'released', h.json, ARGV[1], h.number or '' }
