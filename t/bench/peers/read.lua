-- Redis, once for a request: whose key it is, whether its limit allows it, the
-- line's document.  KEYS: credential.  ARGV: line, microseconds a token, burst.

local tenant = redis.call('GET', KEYS[1])
if not tenant then return { 401 } end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local bucket = 'bucket:' .. tenant
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', bucket) or 0), now)
local left = math.floor(burst - (tat - now) / interval)

if left < 1 then return { 429, 0, 1 } end

tat = tat + interval
redis.call('SET', bucket, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)

local json = redis.call('GET', 'json:' .. tenant .. ':' .. ARGV[1])
if not json then return { 404 } end

return { 200, left - 1, math.ceil((tat - now) / 1000000), json }
