--@include lib/operation.lua
--@include lib/line.lua

-- A purchase has come to its end: the line is recorded, the answer kept.

--@key op(id)
--@key ops
--@key line(id)
--@key lines
--@key tenant
--@key events
--@given idem?
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg tenant
--@arg suspended:flag -- it is not paid for now
--@arg before:flag -- the line gets the layout before

--@reply ok answer_status answer
--@reply woken -- billing is to be looked at once more
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

if op_woken(op_key) then
    return { 'woken' }
end

local now = now_ms()
local op = hash(op_key)

local h = {
    id = id, tenant = tenant, operation = id,
    channel = 'phone', type = 'inbound_only', phone = op.number,
    number = op.number, worker = op.worker, status = 'active', active = '1',
    payment = 'paid', required = '1', place = 'account',
    subscription = op.subscription, invoice = op.invoice or '',
    attempt = op.attempt, begun = op.begun, created = int(now),
    reference = op.reference
}

redis.call('HINCRBY', tenant_key, 'account_lines', 1)
redis.call('ZADD', lines_key, int(now), h.id)

if before then
    line_begin_before(tenant_key, line_key, id)
end

line_save(line_key, h, h, now)
count_move(tenant_key, 'new', 'active')
event(events_key, now, 'line.active', 'line', h.id, 'from', '', 'to', 'active',
      'reason', '')

if suspended then
    line_suspend(line_key, events_key, h, now, {})
end

local answer = op_answer(op_key, 200,
    '{"status":"OK","phone_number":' .. js(h.phone)
    .. ',"worker_id":' .. js(h.worker)
    .. ',"subscription_id":' .. js(h.subscription) .. '}')

op_end(op_key, ops_key, id, idem_key, now)

return { 'ok', '200', answer }
