--@include lib/inventory.lua

-- What an operation leased has a line, or a ticket: it is that one's for good,
-- and nobody needs to look at it any more.

--@key inv_numbers
--@key inv_leased
--@key inv_assigned
--@key inv_operations
--@key inv_leases
--@arg operation
--@arg tenant

--@reply kept number
--@reply none

redis.call('ZREM', inv_leases_key, tenant .. ' ' .. operation)

local number = redis.call('HGET', inv_operations_key, operation)
local h = number and number_read(inv_numbers_key, number)

if not h or h.operation ~= operation then
    return { 'none' }
end

if h.state == 'leased' then
    redis.call('HSET', inv_numbers_key, number, 'assigned ' .. h.worker .. ' '
                                        .. h.operation .. ' ' .. h.tenant)
    redis.call('ZREM', inv_leased_key, number)
    redis.call('ZADD', inv_assigned_key, 0, number)
end

return { 'kept', number }
