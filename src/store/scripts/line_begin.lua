--@again
--@include lib/operation.lua
--@include lib/line.lua
--@include lib/bound.lua
--@include lib/bucket.lua

-- Begins a line request: checks all that the reader checked again, then
-- writes line, capacity, idempotency record and operation as one.

--@key tenant
--@key line(id)
--@key lines
--@key pending
--@key op(id)
--@key ops
--@given idem?
--@key events
--@key declined
--@key calls
--@key never(id)
--@arg not_after:int    -- ms
--@arg id               -- of the line
--@arg tenant           -- w:ID
--@arg plan             -- as it was read
--@arg included:int     -- places of the plan
--@arg price?           -- of one more; none: there are no more
--@arg max:int?
--@arg customer         -- as it was read
--@arg fingerprint?     -- none without an idempotency key
--@arg body?            -- of the billing call; none without billing
--@arg call_key         -- of the billing call
--@arg lease:int        -- ms
--@arg provisioner:flag -- somebody is told
--@arg requests:int?    -- a day; none: as many as are made
--@arg declines:int?    -- none: however many
--@arg within:int       -- of these ms
--@arg interval?        -- µs in which it may ask billing once more; none: at will
--@arg size:int         -- so often at once
--@arg before:flag      -- the line gets the layout before
--@arg trace?           -- its traceparent
--@list fields          -- field, value, … of the line

--@reply created place document answer fence:int now:int record...
-- answer: "" where its operation will know it
--@reply idempotent operation fingerprint
--@reply subscription state
--@reply blocked line
--@reply bound which ms:int -- of lines_tenant_limits; until there may be more
--@reply late|changed|full|customer|payment

local DAY = 86400000

local now = now_ms()

-- The same begin once more (its first reply was lost), before anything else is
-- judged: what is there was made by this request.  It is told its own fence,
-- never that of the sweeper, who may have claimed the operation since.
if redis.call('EXISTS', line_key) == 1 then
    local h = line_hash(line_key)
    local known = h.place ~= 'included'
                  and redis.call('EXISTS', op_key) == 1

    return { 'created', h.place or '', h.json, known and '' or line_answer(h),
             tostring(redis.call('HEXISTS', op_key, 'fence')), int(now) }
end

-- a stalled begin must not create what the sweeper has already dismissed,
-- whatever the clock says by then
if now > not_after or redis.call('EXISTS', never_key) == 1 then
    return { 'late' }
end

local own = hash(tenant_key) or {}

if fingerprint then
    local used = idem_used(idem_key, own.made)

    if used then
        return used
    end
end

if own.subscription ~= 'active' then
    return { 'subscription', own.subscription or 'none' }
end

if (own.plan or '') ~= plan or (own.customer or '') ~= customer then
    return { 'changed' }
end

local blocking = redis.call('GET', pending_key)

if blocking then
    return { 'blocked', blocking }
end

local h = { id = id, tenant = tenant }

for i = 1, #fields, 2 do
    h[fields[i]] = fields[i + 1]
end

local taken = tonumber(own[h.channel .. '_included'] or 0)
local paid = tonumber(own[h.channel .. '_paid'] or 0)

if max and taken + paid >= max then
    return { 'full' }
end

local step

if taken < included then
    h.place, h.required = 'included', '0'
    h.status, h.payment = 'provisioning', 'paid'
    step = provisioner and 'tell' or 'done'

elseif not price then
    return { 'full' }

elseif customer == '' then
    return { 'customer' }

elseif not body then
    return { 'payment' }

else
    h.place, h.required = 'paid', '1'
    h.status, h.payment = 'awaiting_payment', 'pending'
    step = 'send'
end

-- of those that a plan includes, its places are the bound
if h.place == 'paid' then
    local wait = requests and bound_wait(lines_key, requests, DAY, now) or 0

    if wait > 0 then
        return { 'bound', 'requests', int(wait) }
    end

    local which

    -- none is under way: that would be the pending one
    which, wait = bound_charge(declined_key, declines, 0, within, now,
                               bucket_take, calls_key, interval, size)

    if which then
        return { 'bound', which, wait }
    end
end

h.active = '0'
h.attempt = '1'
h.created = int(now)

redis.call('HINCRBY', tenant_key, h.channel .. '_' .. h.place, 1)
redis.call('ZADD', lines_key, int(now), h.id)

if h.place == 'paid' then
    redis.call('SET', pending_key, h.id)
end

if before then
    line_begin_before(tenant_key, line_key, id)
end

-- every field was only set in h so far
line_save(line_key, h, h, now)
count_move(tenant_key, 'new', h.status)
event(events_key, now, 'line.' .. h.status, 'line', h.id, 'from', '',
      'to', h.status, 'reason', '')

if fingerprint then
    idem_use(idem_key, h.id, fingerprint, own.made)
end

local answer = h.place == 'included' and line_answer(h) or ''
local fence = '0'

if step == 'done' then
    if fingerprint then
        op_done(op_key, idem_key, 'request', now, 201, answer, 'line', h.id)
    end

else
    fence = op_begin(op_key, ops_key, h.id, 'request', step, lease, now,
                     'line', h.id, 'customer', customer,
                     'price', price or '', 'body', body or '',
                     'key', call_key, 'sent_at', int(now))

    -- an included line is answered now; telling the provisioner goes on
    if step == 'tell' then
        op_answer(op_key, 201, answer)
    end

    if fingerprint then
        redis.call('HSET', op_key, 'idempotency', idem_key)
    end

    if trace then
        redis.call('HSET', op_key, 'trace', trace)
    end
end

if fence == '0' then
    return { 'created', h.place or '', h.json, answer, fence, int(now) }
end

-- as op_claim.lua says it: who begins it holds it
return op_reply(op_key, 'created', h.place, h.json, answer, fence, int(now))
