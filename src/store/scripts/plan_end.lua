--@include lib/guard.lua
--@include lib/line.lua

-- What was read of a base plan, written if nothing happened meanwhile.  Where
-- it has ended, the line that awaits payment is to be canceled.
--
-- KEYS  1 operation  2 operations  3 tenant  4 pending  5 events
--       6 line that is pending  7 its operation; both the tenant's key where
--       there was none
-- ARGV  1 step  2 attempt  3 fence  4 operation id
--       5 dirty count that was read
--       6 subscription (active|past_due|canceled), "" leaves it
--       7 plan, "" leaves it  8 id of the line that is pending, or ""
--
-- Returns { "ok", line to cancel or "" } | { "dirty" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

if redis.call('HGET', KEYS[1], 'dirty') ~= ARGV[5] then
    return { 'dirty' }
end

local ends = ARGV[6] == 'canceled'

if ends and (redis.call('GET', KEYS[4]) or '') ~= ARGV[8] then
    return { 'dirty' }
end

local now = now_ms()
local cancel = ''

if ARGV[6] ~= '' and redis.call('EXISTS', KEYS[3]) == 1 then
    local old = redis.call('HMGET', KEYS[3], 'subscription', 'plan')

    redis.call('HSET', KEYS[3], 'subscription', ARGV[6])

    if ARGV[7] ~= '' then
        redis.call('HSET', KEYS[3], 'plan', ARGV[7])
    end

    if old[1] ~= ARGV[6] or (ARGV[7] ~= '' and old[2] ~= ARGV[7]) then
        event(KEYS[5], now, 'workspace.subscription', 'from', old[1] or '',
              'to', ARGV[6], 'plan', ARGV[7])
    end
end

if ends and ARGV[8] ~= '' then
    local h = hash(KEYS[6])
    local step = redis.call('HGET', KEYS[7], 'step')

    if h and h.status == 'awaiting_payment' and step and step ~= 'done' then
        redis.call('HSETNX', KEYS[7], 'intent', 'cancel')
        redis.call('HSETNX', KEYS[7], 'intent_reason', 'subscription_ended')
        line_save(KEYS[6], h, { intent = 'cancel' }, now)
        cancel = ARGV[8]
    end
end

op_end(KEYS[1], KEYS[2], ARGV[4], KEYS[1], now)

return { 'ok', cancel }
