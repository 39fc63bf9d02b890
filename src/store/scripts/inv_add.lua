--@include lib/inventory.lua

-- Numbers that can be handed out.  One that is there already is left as it is;
-- one of the operator's own that a ticket holds becomes one of the inventory.

--@key inv_numbers
--@key inv_free
--@key inv_leased
--@key inv_assigned
--@key inv_all
--@list numbers -- number, worker, …

--@row added:int present:int

local lists = { leased = inv_leased_key, assigned = inv_assigned_key }
local added, present = 0, 0

for i = 1, #numbers, 2 do
    local number, worker = numbers[i], numbers[i + 1]
    local h = number_read(inv_numbers_key, number)

    if h and h.worker ~= '' then
        present = present + 1

    else
        if h then
            h.worker = worker
            number_put(inv_numbers_key, number, h.state, h)
            redis.call('ZADD', lists[h.state], 0, number)

        else
            redis.call('HSET', inv_numbers_key, number, 'free ' .. worker)
            redis.call('ZADD', inv_free_key, 0, number)
        end

        redis.call('ZADD', inv_all_key, 0, number)
        added = added + 1
    end
end

return { added, present }
