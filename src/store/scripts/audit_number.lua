--@again
--@light
--@include lib/record.lua
-- Whether the one that holds a number by the inventory knows it.  Reads only.

--@key op(operation)
--@key line(operation)
--@key ticket(ticket)?
--@key tenant
--@key deleted
--@arg operation
--@arg number

--@row findings...
-- kind, outcome, id, here, there; repaired is what nobody holds, or a line that
-- has ended, but for a tenant that is not here, and was never deleted

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
local lost = redis.call('EXISTS', tenant_key, deleted_key) == 0

return { 'number', gone and not lost and 'repaired' or 'shown', number,
         'assigned to ' .. operation,
         lost and 'its tenant is lost' or gone and 'nobody holds it' or held }
