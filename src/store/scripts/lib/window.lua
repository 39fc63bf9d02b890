--@include lib/time.lua

-- Rolling windows, exact.  One sorted set per account: operations by the
-- instant they began.  A place counts while it is younger than the window; one
-- whose operation is still unresolved counts for ever; only an undo takes it
-- back.

local DAY = 86400000
local MONTH = 2592000000


-- a limit of the account's own comes before the plan's; nil: unlimited
local function limit_of(own, plans)
    local limit = own or plans

    if limit == 'unlimited' then
        return nil
    end

    return tonumber(limit) or 0
end


-- { used, full, free_at, resets_at }: free_at is when there is a place again,
-- resets_at when the oldest one leaves; nil where no instant is known
local function window_state(win, unresolved, now, length, limit)
    local after = '(' .. int(now - length)

    -- what is past and lies ahead is now: the clock was set back
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', win, '(' .. int(now),
                                   '+inf')) do
        redis.call('ZADD', win, int(now), id)
    end

    local fresh = redis.call('ZCOUNT', win, after, '+inf')
    local old = 0

    for _, id in ipairs(unresolved) do
        local began = redis.call('ZSCORE', win, id)

        if began and tonumber(began) <= now - length then
            old = old + 1
        end
    end

    local state = { used = fresh + old, full = false }
    local first = redis.call('ZRANGEBYSCORE', win, after, '+inf',
                             'WITHSCORES', 'LIMIT', 0, 1)

    if first[2] then
        state.resets_at = tonumber(first[2]) + length
    end

    if limit and state.used >= limit then
        state.full = true

        -- so many must leave; the old ones may do so at any moment
        local need = state.used - limit + 1

        if limit > 0 and need <= old then
            state.free_at = now

        elseif limit > 0 then
            local last = redis.call('ZRANGEBYSCORE', win, after, '+inf',
                                    'WITHSCORES', 'LIMIT', need - old - 1, 1)
            state.free_at = tonumber(last[2]) + length
        end
    end

    return state
end


-- seconds for Retry-After, "" where waiting does not help
local function retry_after(state, now)
    if not state.free_at then
        return ''
    end

    return int(math.max(1, math.ceil((state.free_at - now) / 1000)))
end
