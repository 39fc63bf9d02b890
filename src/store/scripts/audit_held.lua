--@again
--@light
--@include lib/inventory.lua

-- What holds a number is what the inventory says.  Reads only.

--@key inv_numbers
--@arg tenant
--@list numbers    -- number, line or ticket.ID, …

--@row findings... -- kind, outcome, id, here, there, …

local findings = {}

for i = 1, #numbers, 2 do
    local h = number_read(inv_numbers_key, numbers[i])
    local holder = numbers[i + 1]
    local there

    -- a ticket's may be none of the inventory's
    if not h then
        there = string.sub(holder, 1, 7) ~= 'ticket.' and 'unknown'

    elseif h.state ~= 'assigned' and h.state ~= 'leased' then
        there = h.state

    elseif h.operation ~= holder or h.tenant ~= tenant then
        there = h.state .. ' to ' .. h.operation .. ' of ' .. h.tenant
    end

    if there then
        for _, item in ipairs({ 'number', 'shown', numbers[i],
                                'held by ' .. holder, there })
        do
            findings[#findings + 1] = item
        end
    end
end

return findings
