--@include lib/inventory.lua

-- Leases a number to an operation: the same one again where it holds one.
-- A lease never frees itself.

--@key inv_numbers as numbers
--@key inv_free as free
--@key inv_quarantined as quarantined
--@key inv_leased as leased
--@key inv_operations as operations
--@key inv_leases as leases
--@arg operation
--@arg tenant
--@arg not_after:int? -- ms: whoever lost the operation meanwhile gets nothing
--@arg delay:int      -- ms until somebody looks what became of it
--@arg area?          -- wished for
--@arg wanted?        -- the very number

--@reply leased|held number worker
--@reply none|late|unknown
--@reply taken state

local now = now_ms()
local held = redis.call('HGET', operations_key, operation)

if held then
    local h = number_read(numbers_key, held)

    if wanted and wanted ~= held then
        return { 'taken', h.state }
    end

    return { 'held', held, h.worker }
end

if not_after and now > not_after then
    return { 'late' }
end

thaw(numbers_key, free_key, quarantined_key, now, 100)

local number

if wanted then
    local h = number_read(numbers_key, wanted)

    if not h then
        return { 'unknown' }
    end

    if h.state ~= 'free' then
        return { 'taken', h.state }
    end

    number = wanted

elseif area then
    number = redis.call('ZRANGEBYLEX', free_key, '[+1' .. area,
                        '[+1' .. area .. '\255', 'LIMIT', 0, 1)[1]
end

if not number then
    number = redis.call('ZRANGE', free_key, 0, 0)[1]
end

if not number then
    return { 'none' }
end

local h = number_read(numbers_key, number)

redis.call('HSET', numbers_key, number,
           'leased ' .. h.worker .. ' ' .. operation .. ' ' .. tenant)
redis.call('ZREM', free_key, number)
redis.call('ZADD', leased_key, 0, number)
redis.call('HSET', operations_key, operation, number)
redis.call('ZADD', leases_key, int(now + delay), tenant .. ' ' .. operation)

return { 'leased', number, h.worker }
