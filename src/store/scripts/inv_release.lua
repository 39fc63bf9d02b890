--@include lib/inventory.lua

-- The number that an operation holds, leased or assigned, goes back.

--@key inv_numbers as numbers
--@key inv_free as free
--@key inv_quarantined as quarantined
--@key inv_leased as leased
--@key inv_assigned as assigned
--@key inv_operations as operations
--@key inv_leases as leases
--@arg operation
--@arg tenant
--@arg quarantine:int -- ms, 0 for none

--@reply released number
--@reply none

local number = redis.call('HGET', operations_key, operation)

redis.call('ZREM', leases_key, tenant .. ' ' .. operation)

if not number then
    return { 'none' }
end

local h = number_read(numbers_key, number)

redis.call('HDEL', operations_key, operation)

if not h or h.operation ~= operation then
    return { 'none' }
end

redis.call('ZREM', leased_key, number)
redis.call('ZREM', assigned_key, number)

if quarantine > 0 then
    redis.call('HSET', numbers_key, number, 'quarantined ' .. h.worker)
    redis.call('ZADD', quarantined_key, int(now_ms() + quarantine), number)
else
    redis.call('HSET', numbers_key, number, 'free ' .. h.worker)
    redis.call('ZADD', free_key, 0, number)
end

return { 'released', number }
