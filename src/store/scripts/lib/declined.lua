--@include lib/ahead.lua

-- A charge was declined: who tries one card after the other is known by that.

local function declined_add(key, id, now)
    ahead_drop(key, now)

    local old = redis.call('ZRANGEBYSCORE', key, '-inf', int(now - 86400000))
    local over = redis.call('ZCARD', key) - #old - 999

    redis.call('ZADD', key, int(now), id)

    for _, other in ipairs(old) do
        redis.call('ZREM', key, other)
    end

    if over > 0 then
        for _, other in ipairs(redis.call('ZRANGE', key, 0, over - 1)) do
            redis.call('ZREM', key, other)
        end
    end

    redis.call('PEXPIRE', key, 86400000)
end
