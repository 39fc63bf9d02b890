--@include lib/operation.lua
--@include lib/move.lua

-- The provisioner's report about a line of a workspace.
-- A paid line that fails starts its own refund in this script: nothing
-- between the two can be lost.

--@key line(id)
--@key tenant
--@key pending
--@key events
--@key op(operation)? -- none of a line that is active
--@key ops
--@arg status         -- active | failed
--@arg phone?
--@arg reason?
--@arg operation      -- the refund's id

--@reply moved|same document operation pending -- begun, or ""; what may have a
                                              -- place now, or ""
--@reply illegal status?
--@reply unknown

local now = now_ms()
local h = line_hash(line_key)

if not h then
    return { 'unknown' }
end

local shown = line_public(h)

-- one that ended before it was ready can fail, which pays back what it cost
if shown == 'canceled' and status == 'active' then
    return { 'illegal', shown }
end

-- also of one that is reported again: whoever did before may have died
local pending = status == 'failed' and redis.call('GET', pending_key) or ''

if h.status == status then
    return { 'same', line_document(h), '', pending }
end

local changes = { reason = reason }

if phone and h.phone ~= phone then
    changes.phone = phone
end

local keys = { line = line_key, tenant = tenant_key, pending = pending_key,
               events = events_key }

if not line_move(keys, h, status, changes, now) then
    return { 'illegal', shown }
end

if status ~= 'failed' or not h.subscription or h.subscription == '' then
    return { 'moved', h.json, '', pending }
end

op_give_back(op_key, ops_key, operation, 'refund', nil, now, 'line', h.id,
             'subscription', h.subscription, 'invoice', h.invoice or '')

return { 'moved', h.json, operation, pending }
