--@again
-- Who holds a number, by the record of the one that the inventory names.
-- Reads only.

--@key op(operation)
--@key line(operation)
--@key ticket(ticket)?
--@arg number

--@reply agrees|unfinished
--@reply differs has
--@reply gone -- nobody; or a line that was released

local step = redis.call('HGET', op_key, 'step')

if step and step ~= 'done' then
    return { 'unfinished' }
end

local held

if ticket_key then
    local h = redis.call('HMGET', ticket_key, 'status', 'number')

    held = h[1] == 'FULFILLED' and h[2]
else
    local h = redis.call('HMGET', line_key, 'number', 'released')

    held = not (h[2] and h[2] ~= '') and h[1]
end

if not held or held == '' then
    return { 'gone' }
end

if held ~= number then
    return { 'differs', held }
end

return { 'agrees' }
