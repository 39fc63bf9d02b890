-- Redis: some tokens of a bucket at once, for a node that will use them.
-- KEYS: bucket.  ARGV: microseconds a token, burst, how many at most.

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local left = math.floor(burst - (tat - now) / interval)
local granted = math.min(left, tonumber(ARGV[3]))

if granted < 1 then return { 0, 0 } end

tat = tat + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)

return { granted, left - granted }
