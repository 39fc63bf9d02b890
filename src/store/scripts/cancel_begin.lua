--@include lib/guard.lua
--@include lib/line.lua

-- Somebody wants an unpaid line canceled: the intent is recorded before
-- anything is voided, and stands until payment or the void wins.
--
-- KEYS  1 line  2 operation
-- ARGV  1 reason, "" where the client asked for it
--
-- Returns { "intent", step } | { "illegal", status, document }
--       | { "unknown" }

local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

local step = redis.call('HGET', KEYS[2], 'step')

if h.status ~= 'awaiting_payment' or not step or step == 'done' then
    return { 'illegal', (line_public(h)), line_document(h) }
end

redis.call('HSETNX', KEYS[2], 'intent', 'cancel')
redis.call('HSETNX', KEYS[2], 'intent_reason', ARGV[1])

if h.intent ~= 'cancel' then
    line_save(KEYS[1], h, { intent = 'cancel' }, now_ms())
end

return { 'intent', step }
