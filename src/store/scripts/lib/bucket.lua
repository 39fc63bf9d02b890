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
