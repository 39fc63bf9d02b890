--@include lib/guard.lua

-- Billing has an object of ours that no line holds: it is refunded.  A record
-- that is gone is not made up again.
--
-- KEYS  1 operation of the refund  2 operations  3 line  4 operation that the
--       object names
-- ARGV  1 id of the refund's operation  2 subscription  3 invoice
--       4 attempt that the object names, "" where it says none
--
-- Returns "begun" | "same" | "held" (a line holds it, or may yet)

local now = now_ms()

if redis.call('EXISTS', KEYS[1]) == 1 then
    return 'same'
end

local line = redis.call('HMGET', KEYS[3], 'subscription', 'status')
local op = redis.call('HMGET', KEYS[4], 'subscription', 'step', 'attempt')

-- still under way, and not of an older attempt: it will find out itself
if op[2] and op[2] ~= 'done'
   and (op[1] == ARGV[2] or not op[1] or op[1] == '')
   and (ARGV[4] == '' or not op[3]
        or tonumber(ARGV[4]) >= tonumber(op[3]))
then
    return 'held'
end

if line[1] == ARGV[2] and line[2] ~= 'canceled' then
    return 'held'
end

redis.call('HSET', KEYS[1], 'kind', 'orphan', 'step', 'cancel',
           'attempt', 1, 'fence', 0, 'lease_until', 0,
           'subscription', ARGV[2], 'invoice', ARGV[3],
           'begun', int(now))
redis.call('SADD', KEYS[2], ARGV[1])

return 'begun'
