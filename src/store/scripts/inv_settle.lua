--@include lib/inventory.lua

-- A purchase has ended, with its number or without: nobody needs to look at its
-- lease, but for who watches the end of its line by now.

--@key inv_numbers
--@key inv_operations
--@key inv_leases
--@arg member=<tenant>\s<operation>

local at = redis.call('ZSCORE', inv_leases_key, member)
local number = redis.call('HGET', inv_operations_key,
                          string.match(member, ' (.*)'))
local h = number and number_read(inv_numbers_key, number)

-- Redis has lost that it was assigned: a look finds the line that names it
if h and h.state == 'leased' then
    return 1
end

-- by a lease, and not looked at yet: that goes on by itself
if at and tonumber(at) % 1 == 0 then
    redis.call('ZREM', inv_leases_key, member)
end

return 1
