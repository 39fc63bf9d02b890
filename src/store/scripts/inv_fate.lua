--@again
-- What became of an operation that leased a number.
--
-- KEYS  1 operation  2 line of its id  3 ticket, where that holds it
--
-- Returns "unfinished" | "held" (by a line or a ticket)
--       | "released" (by a line) | "gone"
--
-- A number is leased only after its operation has begun: one that is not there
-- can begin no more by the time that anybody looks.

local step = redis.call('HGET', KEYS[1], 'step')

if step and step ~= 'done' then
    return 'unfinished'
end

local line = redis.call('HMGET', KEYS[2], 'number', 'released')

if line[1] and line[1] ~= '' then
    return line[2] and line[2] ~= '' and 'released' or 'held'
end

if redis.call('HGET', KEYS[3], 'status') == 'FULFILLED' then
    return 'held'
end

return 'gone'
