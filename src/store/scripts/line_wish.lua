--@include lib/operation.lua
--@include lib/line.lua

-- What somebody wants of an unpaid line is written down, for whoever looks at
-- it; that it is canceled stands until payment or the void wins.

--@key line(id)
--@key op(id)
--@arg wish           -- cancel, link or yield (operation/decide.h)
--@arg reason         -- of a cancel; "" where the client asked for it

--@reply wished step
--@reply illegal status document
--@reply unknown

local h = hash(line_key)

if not h then
    return { 'unknown' }
end

local step = redis.call('HGET', op_key, 'step')

if h.status ~= 'awaiting_payment' or not step or step == 'done' then
    return { 'illegal', (line_public(h)), line_document(h) }
end

op_wish(op_key, wish, reason)

return { 'wished', step }
