--@again
--@light
--@include lib/inventory.lua

-- Some of the inventory, and of the operator's own numbers that tickets hold: of
-- these those that are assigned, but for those that will be looked at by
-- themselves: a ticket is about to name them, or a line has just ended.  Reads
-- only.

--@key inv_numbers
--@key inv_leases
--@arg from?     -- a cursor
--@arg most:int

--@row cursor held...
-- cursor: empty after the last ones; held: number, operation, tenant, ticket
-- (which holds a number as "ticket.ID"), …

-- of a release that went by the numbers' order: from the beginning
local at = from and string.match(from, '^%d+$') or '0'
local cursor, page = unpack(redis.call('HSCAN', inv_numbers_key, at, 'COUNT',
                                       int(most)))
local reply = { cursor ~= '0' and cursor or '' }

for i = 1, #page, 2 do
    local number = page[i]
    local h = number_read(inv_numbers_key, number)

    if h.state == 'assigned'
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
