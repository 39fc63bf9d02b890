--@include lib/guard.lua
--@include lib/move.lua

-- The invoice of the line's own attempt is paid.  Webhook, reader, link,
-- cancel and sweeper all come here; final states absorb.
--
-- KEYS  1 operation  2 operations  3 line  4 tenant  5 pending  6 events
--       7 idempotency record, or the operation again
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 lease (ms)  6 subscription  7 invoice
--       8 "1" where a provisioner is told
--
-- Returns { "ok", next step, status, document } | { "orphan", status }
--       | { "lost", … }
--
-- Payment wins over a cancel under way: the intent is cleared.

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local h = hash(KEYS[3])

if not h or h.subscription ~= ARGV[6] or h.invoice ~= ARGV[7] then
    return { 'orphan', h and h.status or '' }
end

local now = now_ms()
local keys = { line = KEYS[3], tenant = KEYS[4], pending = KEYS[5],
               events = KEYS[6] }

if not line_move(keys, h, 'provisioning', { payment = 'paid', intent = '' },
                 now)
then
    return { 'orphan', h.status }
end

redis.call('HDEL', KEYS[1], 'intent', 'stuck', 'tries')

-- a creation whose answer was left to the cancel that lost
redis.call('HSETNX', KEYS[1], 'answer_status', 201)
redis.call('HSETNX', KEYS[1], 'answer', line_answer(h))

if ARGV[8] ~= '1' then
    op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[7], now)
    return { 'ok', 'done', h.status, h.json }
end

redis.call('HSET', KEYS[1], 'step', 'tell',
           'lease_until', int(now + tonumber(ARGV[5])))

return { 'ok', 'tell', h.status, h.json }
