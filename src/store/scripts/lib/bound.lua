--@include lib/ahead.lua

-- What a tenant did lately, by the instant of each, where no more than `most'
-- of it may be younger than `length' (ms): how many ms it is until one more may
-- be; 0: now.  What lies in the future was written by a clock that has been set
-- back, and says nothing.

local function bound_wait(key, most, length, now)
    local after = '(' .. int(now - length)
    local count = redis.call('ZCOUNT', key, after, int(now))

    if count < most then
        return 0
    end

    local last = redis.call('ZRANGEBYSCORE', key, after, int(now), 'WITHSCORES',
                            'LIMIT', count - most, 1)

    return math.max(tonumber(last[2]) + length - now, 1)
end


-- Purchases under way, of `unresolved', that began within `length' (ms): what
-- comes of them is not known.  What hangs for longer bars nobody.

local function bound_running(window, unresolved, length, now)
    local running = 0

    for _, id in ipairs(unresolved) do
        local began = tonumber(redis.call('ZSCORE', window, id) or '')

        if began and began > now - length and began <= now then
            running = running + 1
        end
    end

    return running
end


-- Which bound refuses what would be charged, and for how many ms; nothing where
-- none does.  Each of those under way (`running') may be declined yet: however
-- many are tried at once, no more of them are; "running": `declined' would not
-- refuse it without them.  `bucket' is bucket_take, or
-- bucket_wait of who only asks: it comes last, since what is refused anyway takes
-- nothing.

local SOON = 2000

local function bound_charge(declined, declines, running, within, now,
                            bucket, calls, interval, size)
    if declines then
        ahead_drop(declined, now)
    end

    local wait = declines and bound_wait(declined, declines, within, now) or 0

    if wait > 0 then
        return 'declined', int(wait)
    end

    if declines and running > 0
       and running + redis.call('ZCOUNT', declined, '(' .. int(now - within),
                                int(now)) >= declines
    then
        return 'running', int(SOON)
    end

    wait = interval and bucket(calls, tonumber(interval), size) or 0

    if wait > 0 then
        return 'billing', int(wait)
    end
end
