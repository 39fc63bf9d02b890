--@again
--@light
--@include lib/record.lua
-- Whether the one that holds a number by the inventory knows it.  Reads only.

--@key op(operation)
--@key line(operation)
--@key ticket(ticket)?
--@arg operation
--@arg number

--@row findings...
-- kind, outcome, id, here, there; repaired is what nobody holds, or a line that
-- has ended

local step = redis.call('HGET', op_key, 'step')

if step and step ~= 'done' then
    return {}
end

local held

if ticket_key then
    local h = redis.call('HMGET', ticket_key, 'status', 'number')

    held = h[1] == 'FULFILLED' and h[2]
else
    local h = redis.call('HMGET', line_at(line_key), 'number', 'released',
                         'ended')

    held = (h[2] or '') .. (h[3] or '') == '' and h[1]
end

if held == number then
    return {}
end

local gone = not held or held == ''

return { 'number', gone and 'repaired' or 'shown', number,
         'assigned to ' .. operation, gone and 'nobody holds it' or held }
