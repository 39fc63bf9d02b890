--@again
--@light
--@include lib/inventory.lua

-- A page of the inventory, and of it those that are assigned, but for those that
-- will be looked at by themselves: a ticket is about to name them, or a line has
-- just ended.  Reads only.

--@key inv_all
--@key inv_numbers
--@key inv_leases
--@arg from?     -- a cursor
--@arg most:int

--@row cursor held...
-- cursor: empty after the last page; held: number, operation, tenant, ticket
-- (which holds a number as "ticket.ID"), …

local page = redis.call('ZRANGEBYLEX', inv_all_key, from and '(' .. from or '-',
                        '+', 'LIMIT', 0, int(most))
local reply = { page[#page] or '' }

for _, number in ipairs(page) do
    local h = number_read(inv_numbers_key, number)

    if h and h.state == 'assigned'
       and not redis.call('ZSCORE', inv_leases_key,
                          h.tenant .. ' ' .. h.operation)
    then
        for _, item in ipairs({ number, h.operation, h.tenant,
                                string.match(h.operation, '^ticket%.(.*)')
                                or '' })
        do
            reply[#reply + 1] = item
        end
    end
end

return reply
