--@again
--@light
--@include lib/time.lua

-- What is due, the longest first.  What names no operation is told once, and
-- dropped: nobody could ever run it.
--
-- The clock of the list is the latest instant that somebody has looked at it,
-- but for half a lease.  Where that is still to come the clock was set back, or
-- another server took over: what is due later is sooner by as much, once.

--@key due(shard)
--@key due_clock(shard)
--@arg most:digits
--@arg lease:int      -- ms

--@row members...:ref -- member, ms overdue, …

local now = now_ms()
local clock = tonumber(redis.call('GET', due_clock_key) or 0)

if clock > now then
    local later = redis.call('ZRANGEBYSCORE', due_key, '(' .. int(now), '+inf',
                             'WITHSCORES')

    for i = 1, #later, 2 do
        redis.call('ZADD', due_key, string.format('%.17g', tonumber(later[i + 1])
                                                           + now - clock),
                   later[i])
    end
end

if clock > now or now - clock >= lease / 2 then
    redis.call('SET', due_clock_key, int(now))
end

local list = redis.call('ZRANGEBYSCORE', due_key, '-inf', int(now),
                        'WITHSCORES', 'LIMIT', 0, most)

for i = 2, #list, 2 do
    if not string.find(list[i - 1], ' ', 1, true) then
        redis.call('ZREM', due_key, list[i - 1])
    end

    list[i] = int(now - tonumber(list[i]))
end

return list
