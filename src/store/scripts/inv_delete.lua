--@include lib/inventory.lua

-- Takes a number out of the inventory, if nobody holds it.

--@key inv_numbers
--@key inv_free
--@key inv_quarantined
--@key inv_all
--@key inv_leased
--@key inv_operations
--@key inv_reserved
--@arg number
--@arg rest:int -- ms: none rests for longer

--@reply deleted|unknown
--@reply held state

thaw(inv_numbers_key, inv_free_key, inv_quarantined_key, inv_leased_key,
     inv_operations_key, inv_reserved_key, now_ms(), 1000, rest, number)

local h = number_read(inv_numbers_key, number)

if not h then
    return { 'unknown' }
end

if h.state ~= 'free' then
    return { 'held', h.state }
end

redis.call('HDEL', inv_numbers_key, number)
redis.call('ZREM', inv_free_key, number)
redis.call('ZREM', inv_all_key, number)

return { 'deleted' }
