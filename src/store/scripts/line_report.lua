--@include lib/move.lua

-- The provisioner's report about a line of a workspace.
--
-- KEYS  1 line  2 tenant  3 pending  4 events  5 operation  6 operations
-- ARGV  1 status (active|failed)  2 phone  3 reason
--       4 operation id of the refund  5 lease (ms)
--
-- Returns { "moved"|"same", document, operation begun or "" }
--       | { "illegal", status } | { "unknown" }
--
-- A paid line that fails starts its own refund in this script: nothing
-- between the two can be lost.

local now = now_ms()
local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

local status = line_public(h)

-- one that ended before it was ready can fail, which pays back what it cost
if status == 'canceled' and ARGV[1] == 'active' then
    return { 'illegal', status }
end

if h.status == ARGV[1] then
    return { 'same', line_document(h), '' }
end

local changes = {}

if ARGV[2] ~= '' and h.phone ~= ARGV[2] then
    changes.phone = ARGV[2]
end

if ARGV[3] ~= '' then
    changes.reason = ARGV[3]
end

local keys = { line = KEYS[1], tenant = KEYS[2], pending = KEYS[3],
               events = KEYS[4] }

if not line_move(keys, h, ARGV[1], changes, now) then
    return { 'illegal', status }
end

if ARGV[1] ~= 'failed' or not h.subscription or h.subscription == '' then
    return { 'moved', h.json, '' }
end

redis.call('HSET', KEYS[5], 'kind', 'refund', 'line', h.id,
           'step', 'cancel', 'attempt', 1, 'fence', 0, 'lease_until', 0,
           'subscription', h.subscription, 'invoice', h.invoice or '',
           'begun', int(now))
redis.call('SADD', KEYS[6], ARGV[4])

return { 'moved', h.json, ARGV[4] }
