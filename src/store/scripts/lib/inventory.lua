--@include lib/time.lua

-- The inventory: one slot for all of it.
--
--   lines:{inv}:numbers      hash  number -> "state worker [operation tenant]"
--                                  without a worker it is the operator's own:
--                                  held by a ticket, and in no other list
--   lines:{inv}:operations   hash  operation -> number that it holds
--   lines:{inv}:all, :free, :leased, :assigned   sorted sets, all of score 0,
--                                  so that they are in the numbers' order
--   lines:{inv}:quarantined  sorted set  number -> when it is free again
--   lines:{inv}:leases       sorted set  "tenant operation" -> when to look
--                                  what became of it
--   lines:{inv}:reserved     sorted set  operation, which has not begun -> until
--                                  when what it has leased is kept for it

local function number_read(numbers, number)
    local entry = redis.call('HGET', numbers, number)

    if not entry then
        return nil
    end

    local state, worker, operation, tenant =
        string.match(entry, '^(%S+) (%S*) ?(%S*) ?(%S*)')

    return { state = state, worker = worker, operation = operation,
             tenant = tenant }
end


local function number_put(numbers, number, state, h)
    redis.call('HSET', numbers, number, state .. ' ' .. h.worker .. ' '
                                        .. h.operation .. ' ' .. h.tenant)
end


-- A ticket's name may be another's, too, where Redis has lost how far their
-- numbers were.
local function number_of(h, tenant)
    return h.tenant == '' or h.tenant == tenant
end


-- what its operation has leased is assigned to it; again, it stays so
local function number_assign(numbers, leased, assigned, number, h)
    if h.state ~= 'leased' then
        return
    end

    number_put(numbers, number, 'assigned', h)

    if h.worker ~= '' then
        redis.call('ZREM', leased, number)
        redis.call('ZADD', assigned, 0, number)
    end
end


-- Whether nobody has leased or watched it since the look: they set an instant
-- of their own, and what was seen says nothing any more.
local function unchanged(leases, tenant, operation, looked)
    local at = redis.call('ZSCORE', leases, tenant .. ' ' .. operation)

    return at and tonumber(at) == tonumber(looked)
end


-- Who watches the end of a line has instants of his own, too: a lease that is
-- settled, or taken anew, does not end that.
local WATCHED = '.25'

local function watched(leases, member)
    local at = redis.call('ZSCORE', leases, member)

    return at and tonumber(at) % 1 == tonumber('0' .. WATCHED)
end


-- ms: no token is good for longer than a day, and a confirm adds less to that; what
-- is reserved for longer was so by a clock that has been set back
local RESERVED_MOST = 2 * 86400000

-- no lease keeps what was reserved, and nobody does any more
local function unreserve(numbers, free, leased, operations, reserved, operation)
    local number = redis.call('HGET', operations, operation)
    local h = number and number_read(numbers, number)

    redis.call('ZREM', reserved, operation)

    -- else a node of the release before, which knows of none, was here
    if h and h.operation == operation and h.state == 'leased' then
        redis.call('HDEL', operations, operation)
        redis.call('HSET', numbers, number, 'free ' .. h.worker)
        redis.call('ZREM', leased, number)
        redis.call('ZADD', free, 0, number)
    end
end


-- What quarantine has passed is free, and what was reserved until now.  What is
-- to rest for longer than any (rest, ms) was written by a clock that has been set
-- back: it rests from now on.  The one that is asked for by its name, if any, does
-- not wait for others' turn.
local function thaw(numbers, free, quarantined, leased, operations, reserved,
                    now, limit, rest, number)
    local over = redis.call('ZRANGEBYSCORE', reserved, '-inf', int(now),
                            'LIMIT', 0, limit)

    for _, operation in ipairs(redis.call('ZRANGEBYSCORE', reserved,
                                          '(' .. int(now + RESERVED_MOST),
                                          '+inf', 'LIMIT', 0, limit))
    do
        over[#over + 1] = operation
    end

    local holder = number and number_read(numbers, number)
    local till = holder and redis.call('ZSCORE', reserved, holder.operation)

    if till and tonumber(till) <= now then
        over[#over + 1] = holder.operation
    end

    for _, operation in ipairs(over) do
        unreserve(numbers, free, leased, operations, reserved, operation)
    end

    for _, number in ipairs(redis.call('ZRANGEBYSCORE', quarantined,
                                       '(' .. int(now + rest), '+inf', 'LIMIT',
                                       0, limit))
    do
        redis.call('ZADD', quarantined, int(now + rest), number)
    end

    local list = redis.call('ZRANGEBYSCORE', quarantined, '-inf', int(now),
                            'LIMIT', 0, limit)

    local at = number and redis.call('ZSCORE', quarantined, number)

    if at and tonumber(at) <= now then
        list[#list + 1] = number
    end

    for _, one in ipairs(list) do
        local h = number_read(numbers, one)

        redis.call('HSET', numbers, one, 'free ' .. h.worker)
        redis.call('ZREM', quarantined, one)
        redis.call('ZADD', free, 0, one)
    end
end


-- by state; what quarantine has passed is free, whoever makes it so, as is what
-- was reserved until now
local function counts(free, leased, assigned, quarantined, reserved, now)
    local thawed = redis.call('ZCOUNT', quarantined, '-inf', int(now))
    local over = redis.call('ZCOUNT', reserved, '-inf', int(now))
                 + redis.call('ZCOUNT', reserved,
                              '(' .. int(now + RESERVED_MOST), '+inf')

    return redis.call('ZCARD', free) + thawed + over,
           redis.call('ZCARD', leased) - over,
           redis.call('ZCARD', assigned),
           redis.call('ZCARD', quarantined) - thawed
end
