--@include lib/operation.lua
--@include lib/line.lua
--@include lib/window.lua
--@include lib/bound.lua
--@include lib/bucket.lua
--@include lib/tenant.lua

-- Begins a purchase: uses up the token, takes a place in the windows and
-- writes the operation, as one.

--@key tenant
--@key token(hash)
--@key window
--@key op(id)
--@key ops
--@given idem
--@key events
--@key declined
--@key calls
--@key previews
--@key never(id)
--@arg not_after:int  -- ms
--@arg id             -- of the operation
--@arg plan           -- as it was read
--@arg customer       -- as it was read
--@arg price
--@arg daily          -- the plan's limits: numbers, or "unlimited"
--@arg monthly
--@arg fingerprint?   -- none without an idempotency key
--@arg lease:int      -- ms
--@arg ttl:int        -- ms, the longest of a token
--@arg declines:int?  -- none: however many
--@arg within:int     -- of these ms
--@arg interval?      -- µs in which it may ask billing once more; none: at will
--@arg size:int       -- so often at once
--@arg preview=<hash>
--@arg trace?         -- its traceparent
--@arg reference?     -- the client's own
--@arg wanted?        -- the number that is reserved for it

--@reply begun fence:int now:int record...
--@reply refused status:int answer retry_after -- the token is used; s, or ""
--@reply idempotent operation fingerprint
--@reply bound which ms:int -- the token is not used; until there may be more
--@reply used|expired|changed|late

local USED = 30 * 86400000

local now = now_ms()

-- A stalled begin must not create what the sweeper has already dismissed,
-- whatever the clock says by then.  Announced anew, it may: its token counts yet.
if now > not_after or redis.call('DEL', never_key) == 1 then
    return { 'late' }
end

local own = redis.call('HMGET', tenant_key, 'plan', 'customer', 'limit_daily',
                       'limit_monthly', 'made')
local made = own[5] or ''

if fingerprint then
    local used = idem_used(idem_key, made)

    if used then
        return used
    end
end

if own[1] ~= plan or (own[2] or '') ~= customer then
    return { 'changed' }
end

local token = redis.call('GET', token_key)

-- of a former account of the name
if token and string.match(token, '^%a+ %S+ ?(%d*)$') ~= made then
    return { 'expired' }
end

if redis.call('EXISTS', op_key) == 1
   or (token and string.sub(token, 1, 5) == 'used ')
then
    return { 'used' }
end

local expires = token and tonumber(string.match(token, '^valid (%d+)'))

if left(expires, now, ttl) == 0 then
    return { 'expired' }
end


-- the token, whatever comes of it
local function use()
    redis.call('SET', token_key, 'used ' .. token_made(id, made),
               'PX', int(USED))

    if fingerprint then
        idem_use(idem_key, id, fingerprint, made)
    end
end


local unresolved = redis.call('SMEMBERS', ops_key)
local plans = { daily, monthly }

for i, length in ipairs({ DAY, MONTH }) do
    local limit = limit_of(own[i + 2], plans[i])
    local state = window_state(window_key, unresolved, now, length, limit)

    if state.full then
        local answer = '{"status":"ERROR","error":"'
                       .. (i == 1 and 'daily' or 'monthly')
                       .. '_limit_reached","message":"Maximum ' .. int(limit)
                       .. ' lines can be added per '
                       .. (i == 1 and 'day' or 'month') .. ' via API"}'

        use()
        op_done(op_key, idem_key, 'purchase', now, 429, answer,
                'answer_until', int(state.free_at or 0))

        return { 'refused', '429', answer, retry_after(state, now) }
    end
end

-- what ends by itself burns nothing
local which, wait = bound_charge(declined_key, declines,
    declines and bound_running(window_key, unresolved, within, now), within, now,
    bucket_take, calls_key, interval, size)

if which then
    return { 'bound', which, wait }
end

use()

-- what counts no more; an unresolved one counts always
for _, old in ipairs(redis.call('ZRANGEBYSCORE', window_key, '-inf',
                               int(now - MONTH), 'LIMIT', 0, 100)) do
    if redis.call('SISMEMBER', ops_key, old) == 0 then
        redis.call('ZREM', window_key, old)
    end
end

redis.call('ZADD', window_key, int(now), id)

-- what buys is bounded by the windows and by billing
redis.call('ZREM', previews_key, preview)

local fence = op_begin(op_key, ops_key, id, 'purchase', 'card', lease, now,
                       'customer', customer, 'price', price)

if fingerprint then
    redis.call('HSET', op_key, 'idempotency', idem_key)
end

if trace then
    redis.call('HSET', op_key, 'trace', trace)
end

if reference then
    redis.call('HSET', op_key, 'reference', reference)
end

if wanted then
    redis.call('HSET', op_key, 'wanted', wanted)
end

event(events_key, now, 'purchase.begun', 'operation', id)

-- as op_claim.lua says it: who begins it holds it
return op_reply(op_key, 'begun', fence, int(now))
