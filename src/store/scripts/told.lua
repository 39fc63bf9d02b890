--@include lib/operation.lua
--@include lib/move.lua

-- The provisioner has been told of a workspace's line, and took it or refused
-- for good, or its subscription has ended before, or its money went back.  Such
-- a line fails; a paid one starts its refund right here.  One that is not paid
-- for now is suspended.

--@key op(id)
--@key ops
--@key line(line)
--@key tenant
--@key pending
--@key events
--@given idem?
--@key op(refund) as refund
--@key settled
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg verdict -- taken, suspended, refused or ended
--@arg reason
--@arg refund  -- its operation
--@arg ended?  -- when its subscription has; s, as billing tells it

--@reply ok begun document:ref pending -- begun: refund, or ""; pending: what
                                         -- may have a place now, or ""
--@reply woken -- billing is to be looked at once more
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

if op_woken(op_key) then
    return { 'woken' }
end

local now = now_ms()
local h = line_hash(line_key)
local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }
local begun, pending = '', ''
local shown = h and line_public(h)

local function begin(kind, since)
    op_give_back(refund_key, ops_key, refund, kind, since, now, 'line', h.id,
                 'subscription', h.subscription,
                 'invoice', since and '' or h.invoice or '',
                 'skew', since and ended and '0' or '')

    return refund
end

if verdict == 'suspended' then
    if (shown == 'provisioning' or shown == 'active') and not filled(h.suspended)
    then
        line_suspend(line_key, events_key, h, now, {})
    end

-- An operator's report may have been faster: then the move is illegal.  Nobody
-- else will hear that nobody pays for such a line: it ends, with what is left of
-- its subscription, and gives nothing back: but where that is because its money
-- went back, all is due that is left, or should that fail, as of one that failed.
elseif verdict ~= 'taken' and h then
    if not line_move(keys, h, 'failed', { reason = reason }, now) then
        if verdict == 'ended' and not filled(h.released) then
            if line_end(keys, h, 'subscription_ended', now) then
                if reason == 'payment_refunded' then
                    line_save(line_key, h, { reason = reason }, now)
                    begun = begin('refund')
                else
                    begun = begin('release', ended or line_left(h))
                end
            end
        end

    elseif filled(h.subscription) then
        begun = begin('refund')
    end

    pending = redis.call('GET', pending_key) or ''
end

-- what a person said of an invoice that nobody has counted since
op_settle(op_key, settled_key)
op_end(op_key, ops_key, id, idem_key, now)

return { 'ok', begun, h and h.json or '', pending }
