--@include lib/bucket.lua

-- Takes tokens of a limit.
--
-- KEYS  1 bucket
--       2 tenant, where the limit is a tenant's: its own rate and its plan's
--         come before the limit's
-- ARGV  1 tokens needed
--       2 tokens wished for besides: never more than half of what is left
--       3 interval (µs in which a token comes back)   4 burst
--       5 the limit's name
--       then plan, interval, burst for each plan that has its own
--
-- Returns { granted, remaining, retry (ms; 0: granted), interval, burst }

local need, extra = tonumber(ARGV[1]), tonumber(ARGV[2])
local interval, burst = tonumber(ARGV[3]), tonumber(ARGV[4])

if KEYS[2] then
    local own = redis.call('HMGET', KEYS[2], 'limit:' .. ARGV[5], 'plan')

    if own[1] then
        local i, b = string.match(own[1], '^(%S+) (%S+)')
        interval, burst = tonumber(i) or interval, tonumber(b) or burst

    elseif own[2] then
        for i = 6, #ARGV, 3 do
            if ARGV[i] == own[2] then
                interval, burst = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
                break
            end
        end
    end
end

local now = now_us()
local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
local empty = now + burst * interval

if tat < now then
    tat = now

elseif tat > empty then

    -- emptier than empty, by a rate that was raised or a clock that was set
    tat = empty
    bucket_put(KEYS[1], tat, now)
end

local available = math.max(math.floor(burst - (tat - now) / interval + 1e-6),
                           0)

if available < need then
    local retry = math.floor((need * interval - (empty - tat)) / 1000) + 1

    return { 0, available, retry, string.format('%.17g', interval), burst }
end

local granted = need + math.min(extra, math.floor((available - need) / 2))

if granted > 0 then
    bucket_put(KEYS[1], tat + granted * interval, now)
end

return { granted, available - granted, 0, string.format('%.17g', interval),
         burst }
