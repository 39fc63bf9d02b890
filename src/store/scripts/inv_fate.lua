--@again
-- What became of an operation that leased a number.
--
-- A number is leased only after its operation has begun: one that is not there
-- can begin no more by the time that anybody looks.

--@key op(operation)
--@key line(operation)
--@key ticket(ticket)?  -- that holds it

--@reply unfinished
--@reply held           -- by a line or a ticket
--@reply released       -- by a line
--@reply gone

local step = redis.call('HGET', op_key, 'step')

if step and step ~= 'done' then
    return 'unfinished'
end

local line = redis.call('HMGET', line_key, 'number', 'released')

if line[1] and line[1] ~= '' then
    return line[2] and line[2] ~= '' and 'released' or 'held'
end

if ticket_key
   and redis.call('HGET', ticket_key, 'status') == 'FULFILLED'
then
    return 'held'
end

return 'gone'
