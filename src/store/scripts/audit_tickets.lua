--@again
-- The numbers of tickets.  Reads only.

--@keys ticket(ids)

--@row numbers... -- number, who holds it, …

local numbers = {}

for _, key in ipairs(ticket_keys) do
    local h = redis.call('HMGET', key, 'status', 'number')

    if h[1] == 'FULFILLED' and h[2] and h[2] ~= '' then
        numbers[#numbers + 1] = h[2]
        numbers[#numbers + 1] = 'ticket.' .. string.match(key, '([^:]*)$')
    end
end

return numbers
