--@include lib/time.lua

-- The fence: what was decided upon must still be so.

local function guarded(key, step, attempt, fence)
    local held = redis.call('HMGET', key, 'step', 'attempt', 'fence')

    return held[1] == step and held[2] == attempt and held[3] == fence
end


local function lost(key)
    local held = redis.call('HMGET', key, 'step', 'attempt', 'fence')

    return { 'lost', held[1] or '', held[2] or '', held[3] or '' }
end


-- The operation ends: it leaves the list of unfinished ones, and the 24 hours
-- of its idempotency record start.  Without one, idem is the operation itself.
local function op_end(op, ops, id, idem, now)
    redis.call('HSET', op, 'step', 'done', 'ended', int(now),
               'lease_until', 0)
    redis.call('HDEL', op, 'intent', 'stuck', 'tries', 'body')
    redis.call('SREM', ops, id)
    redis.call('EXPIRE', op, 86400)
    redis.call('EXPIRE', idem, 86400)
end
