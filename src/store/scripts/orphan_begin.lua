--@include lib/operation.lua

-- Billing has an object of ours that no line holds: it is refunded.  A record
-- that is gone is not made up again.

--@key op(id)
--@key ops
--@key line(line)
--@key op(line) as named -- the one that the object names
--@arg id
--@arg subscription
--@arg invoice
--@arg attempt:digits?   -- that the object names

--@reply begun|same
--@reply held            -- a line holds it, or may yet

local now = now_ms()

if redis.call('EXISTS', op_key) == 1 then
    return 'same'
end

local line = redis.call('HMGET', line_key, 'subscription', 'status')
local op = redis.call('HMGET', named_key, 'subscription', 'step', 'attempt')

-- still under way, and not of an older attempt: it will find out itself
if op[2] and op[2] ~= 'done'
   and (op[1] == subscription or not op[1] or op[1] == '')
   and (not attempt or not op[3]
        or tonumber(attempt) >= tonumber(op[3]))
then
    return 'held'
end

if line[1] == subscription and line[2] ~= 'canceled' then
    return 'held'
end

op_begin(op_key, ops_key, id, 'orphan', 'cancel', 0, now,
         'subscription', subscription, 'invoice', invoice)

return 'begun'
