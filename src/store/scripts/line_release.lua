--@include lib/operation.lua
--@include lib/move.lua

-- The operator ends an active line; a paid one starts the operation that
-- cancels its billing.

--@key line(id)
--@key tenant
--@key events
--@key op(operation)
--@key ops
--@key pending
--@arg operation -- its id

--@reply released|same document operation number pending
-- operation: begun, or ""; pending: what may have a place now, or ""
--@reply illegal status?
--@reply unknown

local now = now_ms()
local h = line_hash(line_key)

if not h then
    return { 'unknown' }
end

-- also of one that is released again: whoever did before may have died
local pending = redis.call('GET', pending_key) or ''

if filled(h.released) then
    return { 'same', line_document(h), '', h.number or '', pending }
end

local keys = { line = line_key, tenant = tenant_key, events = events_key }

if not line_end(keys, h, 'released', now) then
    return { 'illegal', (line_public(h)) }
end

if not h.subscription or h.subscription == '' then
    return { 'released', h.json, '', h.number or '', pending }
end

-- of one that has ended as its money went back all is due, should that fail
local failed = line_refunds(h)

op_give_back(op_key, ops_key, operation, failed and 'refund' or 'release',
             not failed and line_left(h) or nil, now, 'line', h.id,
             'subscription', h.subscription,
             'invoice', failed and h.invoice or '')

return { 'released', h.json, operation, h.number or '', pending }
