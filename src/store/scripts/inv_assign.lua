--@include lib/inventory.lua

-- The number that an operation has leased belongs to its line.

--@key inv_numbers as numbers
--@key inv_leased as leased
--@key inv_assigned as assigned
--@arg number
--@arg operation

--@reply assigned worker
--@reply refused state -- or unknown

local h = number_read(numbers_key, number)

if not h or h.operation ~= operation then
    return { 'refused', h and h.state or 'unknown' }
end

if h.state == 'leased' then
    redis.call('HSET', numbers_key, number, 'assigned ' .. h.worker .. ' '
                                            .. h.operation .. ' ' .. h.tenant)
    redis.call('ZREM', leased_key, number)
    redis.call('ZADD', assigned_key, 0, number)
end

return { 'assigned', h.worker }
