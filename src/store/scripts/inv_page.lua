--@again
--@light
--@include lib/inventory.lua

-- A page of the inventory, in the numbers' order, and how many there are of
-- each state.  What quarantine has passed is made free, as is what was reserved
-- until now.

--@key inv_numbers
--@key inv_free
--@key inv_leased
--@key inv_assigned
--@key inv_quarantined
--@key inv_all
--@key inv_operations
--@key inv_reserved
--@arg state?     -- wanted; else all
--@arg from?      -- after this number, without "+"
--@arg most:int
--@arg rest:int   -- ms: none rests for longer

--@row free:int leased:int assigned:int quarantined:int cursor listed:list

-- cursor: where the next page goes on, or ""; listed: number, worker, state, …

thaw(inv_numbers_key, inv_free_key, inv_quarantined_key, inv_leased_key,
     inv_operations_key, inv_reserved_key, now_ms(), 1000, rest)

-- in quarantine a number's score is an instant: looked for in all

local lists = { free = inv_free_key, leased = inv_leased_key,
                assigned = inv_assigned_key }

local page = redis.call('ZRANGEBYLEX', lists[state] or inv_all_key,
                        from and '(+' .. from or '-', '+',
                        'LIMIT', 0, most + 1)

local cursor = page[most + 1] and string.sub(page[most], 2) or ''
local listed = {}

for i = 1, math.min(#page, most) do
    local h = number_read(inv_numbers_key, page[i])

    -- else it is the operator's own, or in another state, or gone by now

    if h and h.worker ~= '' and (not state or h.state == state) then
        listed[#listed + 1] = page[i]
        listed[#listed + 1] = h.worker
        listed[#listed + 1] = h.state
    end
end

local free, leased, assigned, quarantined =
    counts(inv_free_key, inv_leased_key, inv_assigned_key, inv_quarantined_key,
           inv_reserved_key, now_ms())

return { free, leased, assigned, quarantined, cursor, listed }
