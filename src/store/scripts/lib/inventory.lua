--@include lib/time.lua

-- The inventory: one slot for all of it.
--
--   lines:{inv}:numbers      hash  number -> "state worker [operation tenant]"
--   lines:{inv}:operations   hash  operation -> number that it holds
--   lines:{inv}:all, :free, :leased, :assigned   sorted sets, all of score 0,
--                                  so that they are in the numbers' order
--   lines:{inv}:quarantined  sorted set  number -> when it is free again
--   lines:{inv}:leases       sorted set  "tenant operation" -> when to look
--                                  what became of it

local function number_read(numbers, number)
    local entry = redis.call('HGET', numbers, number)

    if not entry then
        return nil
    end

    local state, worker, operation, tenant =
        string.match(entry, '^(%S+) (%S+) ?(%S*) ?(%S*)')

    return { state = state, worker = worker, operation = operation,
             tenant = tenant }
end


-- what quarantine has passed is free
local function thaw(numbers, free, quarantined, now, limit)
    local list = redis.call('ZRANGEBYSCORE', quarantined, '-inf', int(now),
                            'LIMIT', 0, limit)

    for _, number in ipairs(list) do
        local h = number_read(numbers, number)

        redis.call('HSET', numbers, number, 'free ' .. h.worker)
        redis.call('ZREM', quarantined, number)
        redis.call('ZADD', free, 0, number)
    end

    return #list
end
