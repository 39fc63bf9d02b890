--@include lib/guard.lua
--@include lib/move.lua

-- Billing refused for good: the line ends, and counts and blocks nothing.
--
-- KEYS  1 operation  2 operations  3 line  4 tenant  5 pending  6 events
--       7 idempotency record, or the operation again
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 reason  6 message for the client
--
-- Returns { "ok", status, document } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local h = hash(KEYS[3])
local keys = { line = KEYS[3], tenant = KEYS[4], pending = KEYS[5],
               events = KEYS[6] }

line_move(keys, h, 'canceled',
          { payment = 'failed', reason = ARGV[5], intent = '' }, now)

-- of a later attempt, too: the invoice of the first answer is void
redis.call('HSET', KEYS[1], 'answer_status', 402, 'answer',
           '{"success":false,"status":' .. js(h.status)
           .. ',"paymentStatus":' .. js(h.payment)
           .. ',"message":' .. js(ARGV[6])
           .. ',"reason":' .. js(ARGV[5])
           .. (ARGV[5] == 'subscription_required'
               and ',"redirect":"/billing"' or '')
           .. ',"line":' .. h.json .. '}')

redis.call('HSET', KEYS[1], 'refused', ARGV[6])
op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[7], now)

return { 'ok', h.status, h.json }
