--@include lib/inventory.lua

-- The number that an operation holds, leased, reserved or assigned, goes back.

--@key inv_numbers as numbers
--@key inv_free as free
--@key inv_quarantined as quarantined
--@key inv_leased as leased
--@key inv_assigned as assigned
--@key inv_operations as operations
--@key inv_leases as leases
--@key inv_reserved as reserved
--@arg operation
--@arg tenant
--@arg quarantine:int -- ms, 0 for none
--@arg lost?          -- that very one, which is another's: it may hold one by
                      -- now that is its own, be it the same
--@arg looked?        -- as inv_look.lua says: only what is still so

--@reply released number
--@reply none

local held = redis.call('HGET', operations_key, operation)
local h = held and number_read(numbers_key, held)
local own = h and h.operation == operation

if (lost and (held ~= lost or own))
   or (looked and not unchanged(leases_key, tenant, operation, looked))
then
    return { 'none' }
end

redis.call('ZREM', leases_key, tenant .. ' ' .. operation)

if not held then
    return { 'none' }
end

if own and not number_of(h, tenant) then
    return { 'none' }
end

redis.call('HDEL', operations_key, operation)
redis.call('ZREM', reserved_key, operation)

if not own then
    return { 'none' }
end

redis.call('ZREM', leased_key, held)
redis.call('ZREM', assigned_key, held)

if h.worker == '' then
    redis.call('HDEL', numbers_key, held)

elseif quarantine > 0 then
    redis.call('HSET', numbers_key, held, 'quarantined ' .. h.worker)
    redis.call('ZADD', quarantined_key, int(now_ms() + quarantine), held)

else
    redis.call('HSET', numbers_key, held, 'free ' .. h.worker)
    redis.call('ZADD', free_key, 0, held)
end

return { 'released', held }
