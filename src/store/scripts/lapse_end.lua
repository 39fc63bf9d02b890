--@include lib/guard.lua
--@include lib/line.lua

-- The add-on was read.  Lapsed: its line is not active any more, and its
-- place is free.
--
-- KEYS  1 operation  2 operations  3 line  4 tenant  5 events
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 dirty count that was read  6 "1" where it has lapsed
--       7 subscription
--
-- Returns { "ok" } | { "dirty" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local h = hash(KEYS[3])

if ARGV[6] == '1' then
    if h and h.subscription == ARGV[7]
       and (not h.lapsed or h.lapsed == '')
       and (not h.released or h.released == '')
    then
        local changes = { active = '0', lapsed = int(now) }

        line_free_place(KEYS[4], h, changes)
        line_save(KEYS[3], h, changes, now)
        event(KEYS[5], now, 'line.lapsed', 'line', h.id, 'from', h.status,
              'to', h.status, 'reason', '')
    end

elseif (redis.call('HGET', KEYS[1], 'dirty') or '0') ~= ARGV[5] then
    return { 'dirty' }
end

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[1], now)

return { 'ok' }
