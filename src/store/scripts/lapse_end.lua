--@include lib/operation.lua
--@include lib/move.lua

-- The add-on was read.  Ended: its line ends, and its place is free.  Suspended:
-- the line is not active until the add-on is.  One that lapsed, and nobody knew
-- whether for good, takes its place again where it was not.  What can still be
-- paid of one that ends is void, and what was paid since goes back; who never
-- had it gets back what it cost: nobody else will say that it failed.

--@key op(id)
--@key ops
--@key line(line)
--@key tenant
--@key events
--@key op(refund) as refund
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg verdict      -- ended, suspended or live; "" leaves the line as it is:
                    -- billing's answer decides nothing, and readers do not ask
                    -- again for a while
--@arg subscription
--@arg ended?       -- s, as billing tells it
--@arg refund       -- its operation
--@arg doubt:flag   -- what a bank is said to have cannot be counted now: it goes
                    -- on, with another of them, if there is one

--@reply ok begun -- refund, or ""
--@reply woken         -- it is to be read once more, or another invoice
--@reply doubt invoice -- the next one
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

-- an end is for ever, all else may have changed since
if verdict ~= 'ended' and op_woken(op_key) then
    return { 'woken' }
end

-- of another of its invoices a bank is said to have taken money as well
local following, rest = string.match(redis.call('HGET', op_key, 'invoices')
                                     or '', '^(%S+) (.*)$')

if doubt then
    if following then
        redis.call('HSET', op_key, 'invoices',
                   rest .. redis.call('HGET', op_key, 'invoice') .. ' ',
                   'invoice', following)
    end
elseif verdict ~= 'ended' and following then
    redis.call('HSET', op_key, 'invoice', following, 'invoices', rest)
    return { 'woken' }
end

local now = now_ms()
local h = line_hash(line_key)
local begun = ''

if h and not doubt then
    redis.call('HDEL', line_at(line_key), 'reading', 'asked')

    if verdict == '' then
        redis.call('HSET', line_at(line_key), 'asked', int(now))
    end
end

if h and h.subscription == subscription
   and (not filled(h.lapsed) or line_unclear(h)) and not filled(h.released)
   and (h.status == 'active' or h.status == 'provisioning')
then
    if verdict == 'ended' then
        local keys = { line = line_key, tenant = tenant_key,
                       events = events_key }

        line_end(keys, h, 'subscription_ended', now)

        local failed = line_move(keys, h, 'failed', {}, now)

        op_give_back(refund_key, ops_key, refund, failed and 'refund' or 'release',
                     not failed and (ended or line_left(h)) or nil, now, 'line', h.id,
                     'subscription', h.subscription,
                     'invoice', failed and h.invoice or '',
                     'skew', ended and '0' or '')
        begun = refund

    elseif verdict == 'suspended' and not filled(h.suspended) then
        local changes = {}

        line_resume(tenant_key, h, changes)
        line_suspend(line_key, events_key, h, now, changes)

    elseif verdict == 'live' and (filled(h.suspended) or filled(h.lapsed)) then
        local changes = { suspended = '' }

        line_resume(tenant_key, h, changes)
        line_save(line_key, h, changes, now)
        event(events_key, now, 'line.resumed', 'line', h.id, 'from', h.status,
              'to', h.status, 'reason', '')
    end
end

if doubt then
    return { 'doubt', redis.call('HGET', op_key, 'invoice') or '' }
end

op_end(op_key, ops_key, id, nil, now)

return { 'ok', begun }
