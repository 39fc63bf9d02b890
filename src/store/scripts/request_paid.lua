--@include lib/operation.lua
--@include lib/move.lua

-- The invoice of the line's own attempt is paid, or it is void and a place of
-- the plan is kept for the line.  Webhook, reader, link, cancel and sweeper all
-- come here; final states absorb.

--@key op(id)
--@key ops
--@key line(line)
--@key tenant
--@key pending
--@key events
--@given idem?
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg lease:int        -- ms
--@arg subscription
--@arg invoice
--@arg provisioner:flag -- somebody is told
--@arg included:flag    -- nobody pays

--@reply ok next status document
--@reply orphan status?
--@reply woken          -- of one that is included: it is to be looked at again
--@reply lost step attempt fence

-- Payment wins over a cancel under way: the wish is cleared.  Its place of the
-- plan is given back.

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local h = line_hash(line_key)

if not h or h.subscription ~= subscription or h.invoice ~= invoice
   or h.status ~= 'awaiting_payment'
then
    return { 'orphan', h and h.status or '' }
end

if included and op_woken(op_key) then
    return { 'woken' }
end

local now = now_ms()
local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }

local changes = { payment = 'paid' }

if included then
    changes.subscription, changes.invoice, changes.url = '', '', ''
    redis.call('HDEL', op_key, 'subscription', 'invoice', 'url',
               'invoice_status')
end

-- a place that was kept may be lost since: nobody can pay for it any more
local place = included and 'included' or 'paid'

if h.place ~= place then
    line_change_place(tenant_key, h, place, changes)
end

line_move(keys, h, 'provisioning', changes, now)
redis.call('HDEL', op_key, 'wish', 'place')

-- a creation whose answer was left to the cancel that lost
redis.call('HSETNX', op_key, 'answer_status', 201)
redis.call('HSETNX', op_key, 'answer', line_answer(h))

-- what came meanwhile is seen before the line is handed out
if not provisioner and not op_woken(op_key) then
    op_end(op_key, ops_key, id, idem_key, now)
    return { 'ok', 'done', h.status, h.json }
end

op_next(op_key, 'tell', lease, now)

return { 'ok', 'tell', h.status, h.json }
