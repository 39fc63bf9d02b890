--@include lib/inventory.lua

-- What an operation leased has a line, or a ticket: it is that one's for good,
-- and nobody needs to look at it any more.
--
-- KEYS  1 numbers  2 leased  3 assigned  4 operations  5 leases
-- ARGV  1 operation  2 tenant
--
-- Returns { "kept", number } | { "none" }

redis.call('ZREM', KEYS[5], ARGV[2] .. ' ' .. ARGV[1])

local number = redis.call('HGET', KEYS[4], ARGV[1])
local h = number and number_read(KEYS[1], number)

if not h or h.operation ~= ARGV[1] then
    return { 'none' }
end

if h.state == 'leased' then
    redis.call('HSET', KEYS[1], number, 'assigned ' .. h.worker .. ' '
                                        .. h.operation .. ' ' .. h.tenant)
    redis.call('ZREM', KEYS[2], number)
    redis.call('ZADD', KEYS[3], 0, number)
end

return { 'kept', number }
