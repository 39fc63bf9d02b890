--@include lib/guard.lua
--@include lib/line.lua

-- All that a purchase did is undone: its place in the windows is free again.
-- The answer was recorded when the undo began.
--
-- KEYS  1 operation  2 operations  3 window  4 events
--       5 idempotency record, or the operation again
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--
-- Returns { "ok" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()

redis.call('ZREM', KEYS[3], ARGV[4])

event(KEYS[4], now, 'purchase.undone', 'operation', ARGV[4], 'status',
      redis.call('HGET', KEYS[1], 'answer_status') or '')

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[5], now)

return { 'ok' }
