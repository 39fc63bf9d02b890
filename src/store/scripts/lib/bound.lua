--@include lib/time.lua

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
