--@include lib/operation.lua
--@include lib/move.lua
--@include lib/declined.lua

-- Billing refused for good: the line ends, and counts and blocks nothing.

--@key op(id)
--@key ops
--@key line(line)
--@key tenant
--@key pending
--@key events
--@given idem?
--@key declined
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg reason
--@arg message -- for the client
--@arg card:flag -- it was the card

--@reply ok status answer_status answer
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local now = now_ms()
local h = line_hash(line_key)
local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }

line_move(keys, h, 'canceled',
          { payment = 'failed', reason = reason }, now)

-- of a later attempt, too: the invoice of the first answer is void
local answer = op_answer(op_key, 402,
    '{"success":false,"status":' .. js(h.status)
    .. ',"paymentStatus":' .. js(h.payment)
    .. ',"message":' .. js(message)
    .. ',"reason":' .. js(reason)
    .. (reason == 'subscription_required' and ',"redirect":"/billing"' or '')
    .. ',"line":' .. h.json .. '}')

if card then
    declined_add(declined_key, id, now)
end

redis.call('HSET', op_key, 'refused', message)
op_end(op_key, ops_key, id, idem_key, now)

return { 'ok', h.status, '402', answer }
