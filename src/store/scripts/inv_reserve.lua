--@include lib/inventory.lua

-- Reserves a number for an operation that may begin, so long from now on: the one
-- that it has, or else one that begins so.  Once that is over the number is free,
-- as soon as somebody leases or counts, and until then nobody else's.  What its
-- operation has leased meanwhile is left alone.

--@key inv_numbers as numbers
--@key inv_free as free
--@key inv_quarantined as quarantined
--@key inv_leased as leased
--@key inv_operations as operations
--@key inv_reserved as reserved
--@arg operation
--@arg tenant
--@arg prefix     -- E.164
--@arg keep:int   -- ms
--@arg rest:int   -- ms: none rests for longer

--@reply reserved|held number
--@reply none

local now = now_ms()
local held = redis.call('HGET', operations_key, operation)

if held then
    local h = number_read(numbers_key, held)

    if not number_of(h, tenant) then
        return { 'none' }
    end

    redis.call('ZADD', reserved_key, 'XX', int(now + keep), operation)

    return { 'held', held }
end

thaw(numbers_key, free_key, quarantined_key, leased_key, operations_key,
     reserved_key, now, 1000, rest)

local number = redis.call('ZRANGEBYLEX', free_key, '[' .. prefix,
                          '[' .. prefix .. '\255', 'LIMIT', 0, 1)[1]

if not number then
    return { 'none' }
end

local h = number_read(numbers_key, number)

h.operation, h.tenant = operation, tenant
number_put(numbers_key, number, 'leased', h)

redis.call('ZREM', free_key, number)
redis.call('ZADD', leased_key, 0, number)
redis.call('HSET', operations_key, operation, number)
redis.call('ZADD', reserved_key, int(now + keep), operation)

return { 'reserved', number }
