--@light
--@include lib/time.lua

-- The operation that a hint names is not there.  The hint is dropped, but only
-- when nothing can begin it any more; until then it is out of the way of those
-- that have something to say: it is looked at once more after `late', and a
-- last time when it may go.  A fraction of a millisecond tells how often it
-- was; whoever writes the hint anew writes it whole.  What was announced with it
-- is seen to between "it may go" and its going.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg overdue:int   -- ms that it must be
--@arg late:int      -- ms: a begin's not_after
--@arg go:flag       -- what was announced with it has been seen to

--@value dropped:int -- 1; 2: it may go; or 0

local now = now_ms()
local due = tonumber(redis.call('ZSCORE', due_key, member) or '')

if not due or due > now then
    return 0
end

local looks = due % 1

if looks == 0.5 or now - due >= overdue then
    return go and redis.call('ZREM', due_key, member) or 2
end

local next_look

if looks == 0 then
    next_look = int(now + late) .. '.25'
else
    next_look = int(now + overdue) .. '.5'
end

redis.call('ZADD', due_key, 'XX', next_look, member)

return 0
