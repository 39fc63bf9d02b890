--@include lib/guard.lua
--@include lib/move.lua

-- The provisioner has been told of a workspace's line, and took it or refused
-- for good.  A refused line fails; a paid one starts its refund right here.
--
-- KEYS  1 operation  2 operations  3 line  4 tenant  5 pending  6 events
--       7 idempotency record, or the operation again
--       8 operation of the refund
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 "taken" or "refused"  6 reason  7 id of the refund's operation
--
-- Returns { "ok", refund begun or "", document } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local h = hash(KEYS[3])
local keys = { line = KEYS[3], tenant = KEYS[4], pending = KEYS[5],
               events = KEYS[6] }
local refund = ''

-- an operator's report may have been faster: then the move is illegal
if ARGV[5] == 'refused' and h
   and line_move(keys, h, 'failed', { reason = ARGV[6] }, now)
   and h.subscription and h.subscription ~= ''
then
    refund = ARGV[7]
    redis.call('HSET', KEYS[8], 'kind', 'refund', 'line', h.id,
               'step', 'cancel', 'attempt', 1, 'fence', 0, 'lease_until', 0,
               'subscription', h.subscription, 'invoice', h.invoice or '',
               'begun', int(now))
    redis.call('SADD', KEYS[2], refund)
end

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[7], now)

return { 'ok', refund, h and h.json or '' }
