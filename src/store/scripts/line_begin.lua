--@again
--@include lib/line.lua

-- Begins a line request: checks all that the reader checked again, then
-- writes line, capacity, idempotency record and operation as one.
--
-- KEYS  1 tenant  2 line  3 lines  4 pending  5 operation  6 operations
--       7 idempotency record  8 events
-- ARGV  1 not after (ms)   2 line id          3 tenant (w:ID)
--       4 plan expected    5 included         6 price, "" for none
--       7 max, "" for none 8 customer expected
--       9 fingerprint, "" without an idempotency key
--      10 body of the billing call, "" where there is no billing
--      11 key of the billing call
--      12 lease (ms)      13 "1" where a provisioner is told
--      14.. field, value pairs of the line
--
-- Returns { "created", place, document, answer, fence }
--       | { "idempotent", operation, fingerprint }
--       | { "late" } | { "changed" } | { "subscription", state }
--       | { "blocked", line } | { "full" } | { "customer" } | { "payment" }

local now = now_ms()

-- The same begin once more (its first reply was lost), before anything else is
-- judged: what is there was made by this request.  It is told its own fence,
-- never that of the sweeper, who may have claimed the operation since.
if redis.call('EXISTS', KEYS[2]) == 1 then
    local h = hash(KEYS[2])
    return { 'created', h.place, h.json, line_answer(h),
             tostring(redis.call('HEXISTS', KEYS[5], 'fence')) }
end

-- a stalled begin must not create what the sweeper has already dismissed
if now > tonumber(ARGV[1]) then
    return { 'late' }
end

if ARGV[9] ~= '' then
    local record = redis.call('HMGET', KEYS[7], 'operation', 'fingerprint')

    if record[1] then
        return { 'idempotent', record[1], record[2] }
    end
end

local tenant = hash(KEYS[1]) or {}

if tenant.subscription ~= 'active' then
    return { 'subscription', tenant.subscription or 'none' }
end

if (tenant.plan or '') ~= ARGV[4] or (tenant.customer or '') ~= ARGV[8] then
    return { 'changed' }
end

local blocking = redis.call('GET', KEYS[4])

if blocking then
    return { 'blocked', blocking }
end

local h = { id = ARGV[2], tenant = ARGV[3] }

for i = 14, #ARGV, 2 do
    h[ARGV[i]] = ARGV[i + 1]
end

local included = tonumber(tenant[h.channel .. '_included'] or 0)
local paid = tonumber(tenant[h.channel .. '_paid'] or 0)

if ARGV[7] ~= '' and included + paid >= tonumber(ARGV[7]) then
    return { 'full' }
end

local step

if included < tonumber(ARGV[5]) then
    h.place, h.required = 'included', '0'
    h.status, h.payment = 'provisioning', 'paid'
    step = ARGV[13] == '1' and 'tell' or 'done'

elseif ARGV[6] == '' then
    return { 'full' }

elseif ARGV[8] == '' then
    return { 'customer' }

elseif ARGV[10] == '' then
    return { 'payment' }

else
    h.place, h.required = 'paid', '1'
    h.status, h.payment = 'awaiting_payment', 'pending'
    step = 'send'
end

h.active = '0'
h.attempt = '1'
h.created = int(now)

redis.call('HINCRBY', KEYS[1], h.channel .. '_' .. h.place, 1)
redis.call('ZADD', KEYS[3], int(now), h.id)

if h.place == 'paid' then
    redis.call('SET', KEYS[4], h.id)
end

-- every field was only set in h so far
line_save(KEYS[2], h, h, now)
count_move(KEYS[1], 'new', h.status)
event(KEYS[8], now, 'line.' .. h.status, 'line', h.id, 'from', '',
      'to', h.status, 'reason', '')

local answer = line_answer(h)
local fence = '0'

if step == 'done' then
    if ARGV[9] ~= '' then
        redis.call('HSET', KEYS[5], 'kind', 'request', 'line', h.id,
                   'step', 'done', 'begun', int(now), 'ended', int(now),
                   'answer_status', 201, 'answer', answer)
        redis.call('EXPIRE', KEYS[5], 86400)
    end

else
    fence = '1'
    redis.call('HSET', KEYS[5], 'kind', 'request', 'line', h.id,
               'step', step, 'attempt', 1, 'fence', fence,
               'lease_until', int(now + tonumber(ARGV[12])),
               'customer', ARGV[8], 'price', ARGV[6],
               'body', ARGV[10], 'key', ARGV[11],
               'begun', int(now), 'sent_at', int(now))
    redis.call('SADD', KEYS[6], h.id)

    -- an included line is answered now; telling the provisioner goes on
    if step == 'tell' then
        redis.call('HSET', KEYS[5], 'answer_status', 201, 'answer', answer)
    end
end

if ARGV[9] ~= '' then
    redis.call('HSET', KEYS[7], 'operation', h.id, 'fingerprint', ARGV[9])

    if step == 'done' then
        redis.call('EXPIRE', KEYS[7], 86400)
    else
        redis.call('HSET', KEYS[5], 'idempotency', KEYS[7])
    end
end

return { 'created', h.place, h.json, answer, fence }
