-- A bucket of tokens is one instant: when it will be full (GCRA's theoretical
-- arrival time).  Microseconds here: a token of a fast limit comes back in
-- less than a millisecond.

local function now_us()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000000 + tonumber(t[2])
end


-- the key lives as long as the bucket is not full
local function bucket_put(key, tat, now)
    if tat <= now then
        redis.call('DEL', key)
    else
        redis.call('SET', key, string.format('%.17g', tat),
                   'PX', string.format('%.0f', math.ceil((tat - now) / 1000)))
    end
end


-- In how many ms one of `size' tokens will be there, each of which comes back in
-- `interval' (µs); 0: there is one.  Request limits are limit_settle.lua's affair.
local function bucket_wait(key, interval, size)
    local now = now_us()
    local tat = math.max(tonumber(redis.call('GET', key) or 0), now)
    local empty = now + size * interval

    -- emptier than empty, by a rate that was raised or a clock that was set
    if tat > empty then
        tat = empty
        bucket_put(key, tat, now)
    end

    local short = tat + interval - empty

    -- but for a rounding error
    return short > interval * 1e-6 and math.floor(short / 1000) + 1 or 0,
           tat, now
end


-- the same, and takes it
local function bucket_take(key, interval, size)
    local wait, tat, now = bucket_wait(key, interval, size)

    if wait == 0 then
        bucket_put(key, tat + interval, now)
    end

    return wait
end
