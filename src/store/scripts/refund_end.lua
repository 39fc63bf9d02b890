--@include lib/guard.lua
--@include lib/line.lua

-- The billing of a line has ended: its subscription is gone and, but for a
-- release, what was paid has been paid back.
--
-- KEYS  1 operation  2 operations  3 line (may be gone)  4 events
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 payment status that the line gets, "" leaves it
--       6 subscription  7 name of the event
--
-- Returns { "ok" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local h = hash(KEYS[3])

-- an orphan's line, if there is one, is about another subscription
if h and ARGV[5] ~= '' and h.subscription == ARGV[6] then
    line_save(KEYS[3], h, { payment = ARGV[5] }, now)
end

event(KEYS[4], now, ARGV[7], 'line', h and h.id or '',
      'subscription', ARGV[6])
op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[1], now)

return { 'ok' }
