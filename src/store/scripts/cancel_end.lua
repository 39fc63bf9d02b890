--@include lib/operation.lua
--@include lib/move.lua

-- The invoice is void and the subscription gone: the line is canceled.

--@key op(id)
--@key ops
--@key line(line)
--@key tenant
--@key pending
--@key events
--@given idem?
--@key settled
--@key owed(id) as unlooked
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg reason -- "" where the client asked for it

--@reply ok status answer_status answer
--@reply woken -- what goes back of a part may have failed
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

-- what was decided stands: what led to it may show no more, as the invoice is
-- void by now
if op_woken(op_key) then
    op_wish(op_key, 'cancel', reason)
    return { 'woken' }
end

local now = now_ms()
local h = line_hash(line_key)
local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }

line_move(keys, h, 'canceled',
          { payment = 'failed', reason = reason }, now)

-- also where the creation was answered: nobody may pay that invoice now
local answer = op_answer(op_key, 409,
    '{"success":false,"status":' .. js(h.status)
    .. ',"message":"The line request was canceled."'
    .. ',"line":' .. h.json .. '}')

-- whatever it has cost is due, also what fails, or a bank returns, later
op_owes(op_key, unlooked_key)

-- what a person said of an invoice that nobody has counted since
op_settle(op_key, settled_key)
op_end(op_key, ops_key, id, idem_key, now)

return { 'ok', h.status, '409', answer }
