--@include lib/time.lua

-- The operation that a hint names is not there.  The hint is dropped, but only
-- when nothing can begin it any more; until then it is out of the way of those
-- that have something to say: it is looked at once more after `late', and a
-- last time when it may go.  A fraction of a millisecond tells how often it
-- was; whoever writes the hint anew writes it whole.
--
-- KEYS  1 due list
-- ARGV  1 member  2 ms that it must be overdue  3 late (ms): a begin's
--       not_after
--
-- Returns 1 where it was dropped

local now = now_ms()
local due = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')

if not due or due > now then
    return 0
end

local looks = due % 1

if looks == 0.5 or now - due >= tonumber(ARGV[2]) then
    return redis.call('ZREM', KEYS[1], ARGV[1])
end

local next_look

if looks == 0 then
    next_look = int(now + tonumber(ARGV[3])) .. '.25'
else
    next_look = int(now + tonumber(ARGV[2])) .. '.5'
end

redis.call('ZADD', KEYS[1], 'XX', next_look, ARGV[1])

return 0
