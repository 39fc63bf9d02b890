--@include lib/hook.lua

-- What became of telling a webhook of an event: it is noted, and where it
-- failed tried again, or given up.  One to which nothing could be delivered for
-- days, or which says that it is gone, is paused.

--@key hook(id)
--@key hook_due(id)
--@key hook_busy(id)
--@key hook_log(id)
--@key events
--@arg id
--@arg entry      -- its id
--@arg tries:digits
--@arg url        -- that was called
--@arg outcome    -- delivered, failed
--@arg reason?    -- why it failed, where there is no status
--@arg status:int
--@arg took:int   -- ms
--@arg slow:flag  -- that was too long
--@arg delay:int  -- ms until the next try; 0: there is none
--@arg pause:int  -- ms in which everything failed; 0: at once

--@reply done
--@reply paused reason
--@reply lost -- it is another's, or nobody's by now

-- so many calls must be answered in time, until it counts as quick again
local SLOW = 5

if redis.call('ZREM', hook_busy_key, entry .. ' ' .. tries) == 0 then
    return 'lost'
end

local now = now_ms()
local h = hash(hook_key)
local lag = math.max((tonumber(h.slow) or 0) - 1, 0)
local delivered = outcome == 'delivered'

if slow then
    lag = SLOW
end

if not delivered and delay > 0 then
    redis.call('ZADD', hook_due_key, int(now + delay),
               entry .. ' ' .. int(tonumber(tries) + 1))
elseif not delivered then
    outcome = 'given_up'
end

hook_note(hook_log_key, now, 'event', entry, 'outcome', outcome, 'attempt',
          tonumber(tries) + 1, 'status', status > 0 and status or '', 'reason',
          reason or '', 'took', took, 'next',
          not delivered and delay > 0 and iso8601(now + delay) or '')

-- what another URL says, which it had before, counts for nothing
if h.url ~= url then
    return 'done'
end

redis.call('HSET', hook_key, 'slow', lag)

if delivered then
    redis.call('HDEL', hook_key, 'failing')
    redis.call('HSET', hook_key, 'delivered', int(now))
    return 'done'
end

local since = tonumber(h.failing) or now

if since >= now then
    since = now
    redis.call('HSET', hook_key, 'failing', int(now))
end

if h.status ~= 'active' or now - since < pause then
    return 'done'
end

local why = pause == 0 and 'gone' or 'failing'

redis.call('HSET', hook_key, 'status', 'paused', 'reason', why,
           'updated', int(now))
event(events_key, now, 'webhook.paused', 'webhook', id, 'reason', why)

return { 'paused', why }
