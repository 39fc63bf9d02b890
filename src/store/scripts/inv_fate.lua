--@again
--@light
--@include lib/time.lua
--@include lib/record.lua
-- What became of an operation that leased a number.
--
-- A number is leased only after its operation has begun: one that is not there
-- can begin no more by the time that anybody looks.  A ticket that is open is
-- told: whoever fulfills it just now has looked at it before (ticket_move.lua).
-- Whose tenant is lost may yet be there again, with what names it.

--@key op(operation)
--@key line(operation)
--@key ticket(ticket)?  -- that leased it
--@key tenant
--@key deleted
--@arg number           -- held is what is named by who has it
--@arg most:int         -- ms: no rest is longer

--@reply unfinished
--@reply rests          -- until then: a hint of its own tells when it is due
--@reply held           -- by a line or a ticket
--@reply released       -- by a line that has ended
--@reply lost           -- no tenant of the name is here, nor was deleted
--@reply gone

local op = redis.call('HMGET', op_key, 'step', 'due')

if op[1] and op[1] ~= 'done' then
    return left(op[2], now_ms(), most) > 0 and 'rests' or 'unfinished'
end

local line = redis.call('HMGET', line_at(line_key), 'number', 'released',
                        'ended')

if line[1] == number then
    return ((line[2] or '') .. (line[3] or '') ~= '') and 'released' or 'held'
end

if ticket_key then
    local ticket = redis.call('HMGET', ticket_key, 'status', 'number')

    if ticket[1] == 'FULFILLED' and ticket[2] == number then
        return 'held'
    end

    if ticket[1] == 'OPEN' then
        redis.call('HINCRBY', ticket_key, 'looks', 1)
    end
end

return redis.call('EXISTS', tenant_key, deleted_key) == 0 and 'lost' or 'gone'
