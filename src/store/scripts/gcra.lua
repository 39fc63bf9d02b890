--@light
--@include lib/bucket.lua

-- Takes a token of a limit (sync=each).

--@given limit as bucket
--@key tenant?    -- of a tenant's limit: its own rate and its plan's come first
--@arg rate       -- µs in which a token comes back
--@arg size:int   -- of the bucket
--@arg limit      -- its name
--@list plans     -- plan, interval, burst for each plan that has its own

--@row granted:int remaining:int retry:int interval:ref burst:int
-- retry: in ms; 0 where it was granted

local interval, burst = tonumber(rate), size

if tenant_key then
    local own = redis.call('HMGET', tenant_key, 'limit:' .. limit, 'plan')

    if own[1] then
        local i, b = string.match(own[1], '^(%S+) (%S+)')
        interval, burst = tonumber(i) or interval, tonumber(b) or burst

    elseif own[2] then
        for i = 1, #plans, 3 do
            if plans[i] == own[2] then
                interval, burst = tonumber(plans[i + 1]), tonumber(plans[i + 2])
                break
            end
        end
    end
end

local now = now_us()
local tat = tonumber(redis.call('GET', bucket_key) or 0)
local empty = now + burst * interval

if tat < now then
    tat = now

elseif tat > empty then

    -- emptier than empty, by a rate that was raised or a clock that was set
    tat = empty
    bucket_put(bucket_key, tat, now)
end

local available = math.max(math.floor(burst - (tat - now) / interval + 1e-6),
                           0)

if available < 1 then
    local retry = math.floor((interval - (empty - tat)) / 1000) + 1

    return { 0, available, retry, string.format('%.17g', interval), burst }
end

bucket_put(bucket_key, tat + interval, now)

return { 1, available - 1, 0, string.format('%.17g', interval), burst }
