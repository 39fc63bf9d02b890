--@include lib/guard.lua
--@include lib/line.lua

-- A purchase has come to its end: the line is recorded, the answer kept.
--
-- KEYS  1 operation  2 operations  3 line  4 lines  5 tenant  6 events
--       7 idempotency record, or the operation again
-- ARGV  1 step  2 attempt  3 fence  4 operation id  5 tenant
--
-- Returns { "ok" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local op = hash(KEYS[1])

local h = {
    id = ARGV[4], tenant = ARGV[5], operation = ARGV[4],
    channel = 'phone', type = 'inbound_only', phone = op.number,
    number = op.number, worker = op.worker, status = 'active', active = '1',
    payment = 'paid', required = '1', place = 'account',
    subscription = op.subscription, invoice = op.invoice or '',
    attempt = op.attempt, created = int(now)
}

redis.call('HINCRBY', KEYS[5], 'account_lines', 1)
redis.call('ZADD', KEYS[4], int(now), h.id)
line_save(KEYS[3], h, h, now)

count_move(KEYS[5], 'new', 'active')
event(KEYS[6], now, 'line.active', 'line', h.id, 'from', '', 'to', 'active',
      'reason', '')

redis.call('HSET', KEYS[1], 'answer_status', 200, 'answer',
           '{"status":"OK","phone_number":' .. js(h.phone)
           .. ',"worker_id":' .. js(h.worker)
           .. ',"subscription_id":' .. js(h.subscription) .. '}')

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[7], now)

return { 'ok' }
