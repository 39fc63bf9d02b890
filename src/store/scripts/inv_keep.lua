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
--@arg looked     -- as inv_look.lua says

--@reply kept number
--@reply none

if not unchanged(inv_leases_key, tenant, operation, looked) then
    return { 'none' }
end

redis.call('ZREM', inv_leases_key, tenant .. ' ' .. operation)

local number = redis.call('HGET', inv_operations_key, operation)
local h = number and number_read(inv_numbers_key, number)

if not h or h.operation ~= operation or not number_of(h, tenant) then
    return { 'none' }
end

number_assign(inv_numbers_key, inv_leased_key, inv_assigned_key, number, h)

return { 'kept', number }
