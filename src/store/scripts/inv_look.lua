--@light
--@include lib/time.lua

-- Leases that are old enough to be looked at, each for the next look then, by
-- an instant that only a look sets: what follows from it is done where that
-- still stands (lib/inventory.lua).  No lease, and no watch, is longer than two
-- of these delays.  What names no operation is told once, and dropped.

--@key inv_leases as leases
--@key inv_operations as operations
--@arg most:digits
--@arg delay:int      -- ms until they are looked at again

--@row members... -- "TENANT OPERATION", its number or "", the look, …

local now = now_ms()
local looked = int(now + delay) .. '.5'
local reply = {}

local function look(from, to)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases_key, from, to,
                                       'LIMIT', 0, most)) do
        local operation = string.match(member, ' (.*)')

        if operation then
            redis.call('ZADD', leases_key, looked, member)
        else
            redis.call('ZREM', leases_key, member)
        end

        reply[#reply + 1] = member
        reply[#reply + 1] = operation and redis.call('HGET', operations_key,
                                                     operation) or ''
        reply[#reply + 1] = looked
    end
end

look('-inf', int(now))
look('(' .. int(now + 2 * delay + 1), '+inf')

return reply
