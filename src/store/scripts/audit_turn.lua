--@again
--@light
--@include lib/time.lua

-- Whose turn it is to go on with the auditor's pass, and where it is: one
-- worker of the fleet holds the lease.  A pass begins so long after the one
-- before began, the first so long after the first start; or when the operator
-- asks, or other servers answer: after a failover they may lack what was written.

--@key audit
--@key audit_lease
--@arg me
--@arg lease:int  -- ms
--@arg pass:int   -- ms from begin to begin
--@arg phase?     -- the place to write down, where there is news of it
--@arg cursor
--@arg skipped:flag -- some of what is there was passed over
--@arg servers?   -- which answer; nil: not known
--@arg began:digits -- the pass that the place is of: others may have ended it

--@reply mine now:int phase cursor began:int ended:int since:int
-- ended: the last whole pass; before the first, when that began; since: what went back from then on no whole pass has seen, s
--@reply rests|theirs ended:int

-- one that never ends is late as well
local function whole()
    local at = redis.call('HMGET', audit_key, 'ended', 'began')

    return at[1] or at[2] or '0'
end


local now = now_ms()
local holder = redis.call('GET', audit_lease_key)

-- one that is longer than that is of a clock that was set back
local held = redis.call('PTTL', audit_lease_key)

if holder and holder ~= me and held >= 0 and held <= lease then
    return { 'theirs', whole() }
end

redis.call('SET', audit_lease_key, me, 'PX', int(lease))

if servers then
    local before = redis.call('HGET', audit_key, 'servers')

    if before ~= servers then
        redis.call('HSET', audit_key, 'servers', servers)

        if before then
            redis.call('HSET', audit_key, 'asked', 1)
        end
    end
end

-- of a pass that is lost there is no place any more
local at = redis.call('HMGET', audit_key, 'began', 'phase')

if skipped and at[1] and (at[2] == 'ended' or at[2] == 'refunds'
                          or at[2] == 'credits' or at[2] == 'disputes')
then
    redis.call('HSET', audit_key, 'skipped', 1)
end

if phase and at[1] == began then
    redis.call('HSET', audit_key, 'phase', phase, 'cursor', cursor)

    -- all lists of what ended and went back have been read, and nothing passed
    -- over
    if at[2] == 'disputes' and phase ~= at[2]
       and redis.call('HEXISTS', audit_key, 'skipped') == 0
    then
        redis.call('HSET', audit_key, 'money', at[1])
    end
end

local h = redis.call('HMGET', audit_key, 'phase', 'cursor', 'began', 'next',
                     'asked', 'money')

-- by a clock that has been set back: what the pass has marked says nothing
if h[3] and tonumber(h[3]) > now then
    h[1] = ''
    redis.call('HSET', audit_key, 'phase', '')
end

if not h[1] or h[1] == '' or not h[3] then
    local due = tonumber(h[4] or '')

    -- the first, or a clock that was set back
    if not due or due > now + pass then
        due = now + pass
        redis.call('HSET', audit_key, 'next', int(due))
    end

    if now < due and not h[5] then
        return { 'rests', whole() }
    end

    h[1], h[2], h[3] = 'subscriptions', '', int(now)
    redis.call('HDEL', audit_key, 'asked', 'skipped')
    redis.call('HSET', audit_key, 'phase', h[1], 'cursor', h[2], 'began', h[3],
               'next', int(now + pass))
end

-- clocks differ; for the first time, where it lies ahead, and where some of it
-- can never be read, as far back as billing tells events
local money = tonumber(h[6] or '') or 0
local since = math.max(money <= now and money - 600000 or 0,
                       h[3] - 30 * 86400000)

return { 'mine', int(now), h[1], h[2] or '', h[3], whole(),
         int(math.max(since / 1000, 0)) }
