--@include lib/operation.lua
--@include lib/line.lua

-- Somebody wants an unpaid line canceled: the intent is recorded before
-- anything is voided, and stands until payment or the void wins.

--@key line(id)
--@key op(id)
--@arg reason         -- "" where the client asked for it

--@reply intent step
--@reply illegal status document
--@reply unknown

local h = hash(line_key)

if not h then
    return { 'unknown' }
end

local step = redis.call('HGET', op_key, 'step')

if h.status ~= 'awaiting_payment' or not step or step == 'done' then
    return { 'illegal', (line_public(h)), line_document(h) }
end

redis.call('HSETNX', op_key, 'intent', 'cancel')
redis.call('HSETNX', op_key, 'intent_reason', reason)

if h.intent ~= 'cancel' then
    line_save(line_key, h, { intent = 'cancel' }, now_ms())
end

return { 'intent', step }
