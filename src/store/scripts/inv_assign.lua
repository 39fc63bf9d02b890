--@include lib/inventory.lua

-- The number that an operation has leased belongs to its line, or ticket.

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

number_assign(numbers_key, leased_key, assigned_key, number, h)

return { 'assigned', h.worker }
