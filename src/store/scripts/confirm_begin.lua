--@include lib/json.lua
--@include lib/window.lua

-- Begins a purchase: uses up the token, takes a place in the windows and
-- writes the operation, as one.
--
-- KEYS  1 tenant  2 token  3 window  4 operation  5 operations
--       6 idempotency record  7 events
-- ARGV  1 not after (ms)  2 operation id  3 plan expected
--       4 customer expected  5 price  6 limit a day  7 limit a month
--       8 fingerprint, "" without an idempotency key  9 lease (ms)
--
-- Returns { "begun", fence }
--       | { "refused", status, answer, Retry-After or "" }: the token is used
--       | { "idempotent", operation, fingerprint }
--       | { "used" } | { "expired" } | { "changed" } | { "late" }

local USED = 30 * 86400000

local now = now_ms()

-- a stalled begin must not create what the sweeper has already dismissed
if now > tonumber(ARGV[1]) then
    return { 'late' }
end

if ARGV[8] ~= '' then
    local record = redis.call('HMGET', KEYS[6], 'operation', 'fingerprint')

    if record[1] then
        return { 'idempotent', record[1], record[2] }
    end
end

local own = redis.call('HMGET', KEYS[1], 'plan', 'customer', 'limit_daily',
                       'limit_monthly')

if own[1] ~= ARGV[3] or (own[2] or '') ~= ARGV[4] then
    return { 'changed' }
end

local token = redis.call('GET', KEYS[2])

if redis.call('EXISTS', KEYS[4]) == 1
   or (token and string.sub(token, 1, 5) == 'used ')
then
    return { 'used' }
end

local expires = token and tonumber(string.match(token, '^valid (%d+)$'))

if not expires or expires <= now then
    return { 'expired' }
end

-- whatever comes of it
redis.call('SET', KEYS[2], 'used ' .. ARGV[2], 'PX', int(USED))

if ARGV[8] ~= '' then
    redis.call('HSET', KEYS[6], 'operation', ARGV[2], 'fingerprint', ARGV[8])
end

local unresolved = redis.call('SMEMBERS', KEYS[5])

for i, length in ipairs({ DAY, MONTH }) do
    local limit = limit_of(own[i + 2], ARGV[i + 5])
    local state = window_state(KEYS[3], unresolved, now, length, limit)

    if state.full then
        local answer = '{"status":"ERROR","error":"'
                       .. (i == 1 and 'daily' or 'monthly')
                       .. '_limit_reached","message":"Maximum ' .. int(limit)
                       .. ' lines can be added per '
                       .. (i == 1 and 'day' or 'month') .. ' via API"}'

        redis.call('HSET', KEYS[4], 'kind', 'purchase', 'step', 'done',
                   'begun', int(now), 'ended', int(now),
                   'answer_status', 429, 'answer', answer,
                   'answer_until', int(state.free_at or 0))
        redis.call('EXPIRE', KEYS[4], 86400)

        if ARGV[8] ~= '' then
            redis.call('EXPIRE', KEYS[6], 86400)
        end

        return { 'refused', '429', answer, retry_after(state, now) }
    end
end

-- what counts no more; an unresolved one counts always
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf',
                               int(now - MONTH), 'LIMIT', 0, 100)) do
    if redis.call('SISMEMBER', KEYS[5], id) == 0 then
        redis.call('ZREM', KEYS[3], id)
    end
end

redis.call('ZADD', KEYS[3], int(now), ARGV[2])

redis.call('HSET', KEYS[4], 'kind', 'purchase', 'step', 'card',
           'attempt', 1, 'fence', 1,
           'lease_until', int(now + tonumber(ARGV[9])),
           'customer', ARGV[4], 'price', ARGV[5], 'begun', int(now))

if ARGV[8] ~= '' then
    redis.call('HSET', KEYS[4], 'idempotency', KEYS[6])
end

redis.call('SADD', KEYS[5], ARGV[2])
redis.call('XADD', KEYS[7], 'MAXLEN', '~', 10000, '*',
           'type', 'purchase.begun', 'at', int(now), 'operation', ARGV[2])

return { 'begun', '1' }
