--@include lib/guard.lua
--@include lib/move.lua

-- The add-on was read.  Ended: its line ends, and its place is free.  Suspended:
-- the line is not active until the add-on is.  One that lapsed, and nobody knew
-- whether for good, takes its place again where it was not.
--
-- KEYS  1 operation  2 operations  3 line  4 tenant  5 events
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 dirty count that was read
--       6 ended|suspended|live, "" leaves the line as it is: billing's answer
--         decides nothing, and readers do not ask again for a while
--       7 subscription
--
-- Returns { "ok" } | { "dirty" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

-- an end is for ever, all else may have changed since
if ARGV[6] ~= 'ended'
   and (redis.call('HGET', KEYS[1], 'dirty') or '0') ~= ARGV[5]
then
    return { 'dirty' }
end

local now = now_ms()
local h = hash(KEYS[3])

if h then
    redis.call('HDEL', KEYS[3], 'reading', 'asked')

    if ARGV[6] == '' then
        redis.call('HSET', KEYS[3], 'asked', int(now))
    end
end

if h and h.subscription == ARGV[7]
   and (not filled(h.lapsed) or line_unclear(h)) and not filled(h.released)
   and (h.status == 'active' or h.status == 'provisioning')
then
    if ARGV[6] == 'ended' then
        line_end({ line = KEYS[3], tenant = KEYS[4], events = KEYS[5] }, h,
                 'subscription_ended', now)

    elseif ARGV[6] == 'suspended' and not filled(h.suspended) then
        local changes = { suspended = int(now) }

        line_resume(KEYS[4], h, changes)
        line_save(KEYS[3], h, changes, now)
        event(KEYS[5], now, 'line.suspended', 'line', h.id, 'from', h.status,
              'to', h.status, 'reason', 'suspended')

    elseif ARGV[6] == 'live' and (filled(h.suspended) or filled(h.lapsed)) then
        local changes = { suspended = '' }

        line_resume(KEYS[4], h, changes)
        line_save(KEYS[3], h, changes, now)
        event(KEYS[5], now, 'line.resumed', 'line', h.id, 'from', h.status,
              'to', h.status, 'reason', '')
    end
end

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[1], now)

return { 'ok' }
