--@include lib/operation.lua
--@include lib/move.lua

-- The operator gives back what an active line cost, or one that was active: it
-- ends as by a release, unless it has, and from then on it is one that ended as
-- its money went back (line_refunds()): all is due, as of one that failed, and
-- whatever comes in or fails later.

--@key line(id)
--@key tenant
--@key events
--@key op(operation)? -- none: nothing is changed, it is said what would be due
--@key ops
--@key pending
--@arg operation? -- its id

--@reply due|refunding|same document status subscription invoice operation number pending
-- due: it can be; invoice: its first, or ""; operation: begun, or ""; pending:
-- what may have a place now, or ""
--@reply free|illegal status? -- nothing was paid for it; or it is not active
--@reply unknown

local h = line_hash(line_key)

-- what a tenant that is being deleted has paid is for its orphans to see
if not h or redis.call('HEXISTS', tenant_key, 'deleting') == 1 then
    return { 'unknown' }
end

if h.status ~= 'active' then
    return { 'illegal', h.status }
end

if not filled(h.subscription) then
    return { 'free', (line_public(h)) }
end

local function reply(word, begun)
    return { word, h.json, (line_public(h)), h.subscription, h.invoice or '',
             begun, h.number or '', redis.call('GET', pending_key) or '' }
end

-- also of one that is said again: whoever did before may have died
if filled(h.released) and line_refunds(h) then
    return reply('same', '')
end

if not op_key then
    return reply('due', '')
end

local now = now_ms()
local keys = { line = line_key, tenant = tenant_key, events = events_key }

-- illegal of one that was released before
line_end(keys, h, 'released', now)

-- of before there was "ended"
line_save(line_key, h, { reason = 'payment_refunded',
                         ended = filled(h.ended) and h.ended or h.released },
          now)

op_give_back(op_key, ops_key, operation, 'refund', nil, now, 'line', h.id,
             'subscription', h.subscription, 'invoice', h.invoice or '')

return reply('refunding', operation)
