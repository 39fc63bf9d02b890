--@include lib/operation.lua
--@include lib/move.lua

-- The invoice of the line's own attempt is paid.  Webhook, reader, link,
-- cancel and sweeper all come here; final states absorb.

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

--@reply ok next status document
--@reply orphan status?
--@reply lost step attempt fence

-- Payment wins over a cancel under way: the wish is cleared.

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local h = hash(line_key)

if not h or h.subscription ~= subscription or h.invoice ~= invoice then
    return { 'orphan', h and h.status or '' }
end

local now = now_ms()
local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }

if not line_move(keys, h, 'provisioning', { payment = 'paid' }, now) then
    return { 'orphan', h.status }
end

redis.call('HDEL', op_key, 'wish')

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
