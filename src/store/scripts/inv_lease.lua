--@include lib/inventory.lua

-- Leases a number to an operation: the same one again where it holds one.
-- A lease never frees itself: what was reserved for the operation (inv_reserve.lua)
-- is its lease from then on.  A number that is wanted and not of the inventory
-- is the operator's own: held here as others are, so that nobody else gets it,
-- and forgotten once it is released.

--@key inv_numbers as numbers
--@key inv_free as free
--@key inv_quarantined as quarantined
--@key inv_leased as leased
--@key inv_operations as operations
--@key inv_leases as leases
--@key inv_reserved as reserved
--@arg operation
--@arg tenant
--@arg not_after:int? -- ms, by this clock (inv_now.lua): whoever lost the operation
                      -- meanwhile gets nothing
--@arg delay:int      -- ms until somebody looks what became of it
--@arg area?          -- wished for
--@arg wanted?        -- the very number
--@arg rest:int       -- ms: none rests for longer

--@reply leased|held number worker
--@reply none|late
--@reply taken state

local now = now_ms()
local in_time = not not_after or left(not_after, now, delay) > 0
local held = redis.call('HGET', operations_key, operation)

if held then
    local h = number_read(numbers_key, held)

    -- what is held under that name by another tenant is not to be handed out
    if (wanted and wanted ~= held) or not number_of(h, tenant) then
        return { 'taken', h.state }
    end

    if not in_time and redis.call('ZSCORE', reserved_key, operation) then
        return { 'late' }
    end

    -- nobody is to take it back by what was seen before
    if in_time then
        local member = tenant .. ' ' .. operation

        redis.call('ZREM', reserved_key, operation)
        redis.call('ZADD', leases_key, int(now + delay)
                   .. (watched(leases_key, member) and WATCHED or ''), member)
    end

    return { 'held', held, h.worker }
end

if not in_time then
    return { 'late' }
end

thaw(numbers_key, free_key, quarantined_key, leased_key, operations_key,
     reserved_key, now, 100, rest, wanted)

local number = wanted

if not number and area then
    number = redis.call('ZRANGEBYLEX', free_key, '[+1' .. area,
                        '[+1' .. area .. '\255', 'LIMIT', 0, 1)[1]
end

if not number then
    number = redis.call('ZRANGE', free_key, 0, 0)[1]
end

if not number then
    return { 'none' }
end

local h = number_read(numbers_key, number) or { state = 'free', worker = '' }

if h.state ~= 'free' then
    return { 'taken', h.state }
end

h.operation, h.tenant = operation, tenant
number_put(numbers_key, number, 'leased', h)

if h.worker ~= '' then
    redis.call('ZREM', free_key, number)
    redis.call('ZADD', leased_key, 0, number)
end

redis.call('HSET', operations_key, operation, number)
redis.call('ZADD', leases_key, int(now + delay), tenant .. ' ' .. operation)

return { 'leased', number, h.worker }
