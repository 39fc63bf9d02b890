--@include lib/operation.lua
--@include lib/line.lua
--@include lib/bucket.lua

-- What somebody wants of an unpaid line is written down, for whoever looks at
-- it; that it is canceled stands until payment or the void wins.  Each look
-- costs a token of its tenant's, but for the first cancel: that went with the
-- line.

--@key line(id)
--@key op(id)
--@key calls
--@arg wish           -- cancel, link or yield (operation/decide.h)
--@arg reason         -- of a cancel; "" where the client asked for it
--@arg interval?      -- µs in which it may ask billing once more; none: at will
--@arg size:int       -- so often at once

--@reply wished step
--@reply illegal status document
--@reply bound ms:int -- until it may be wished for
--@reply unknown

local h = line_hash(line_key)

if not h then
    return { 'unknown' }
end

local step = redis.call('HGET', op_key, 'step')

if h.status ~= 'awaiting_payment' or not step or step == 'done' then
    return { 'illegal', (line_public(h)), line_document(h) }
end

if interval and (wish ~= 'cancel'
                 or redis.call('HGET', op_key, 'wish') == 'cancel')
then
    local wait = bucket_take(calls_key, tonumber(interval), size)

    if wait > 0 then
        return { 'bound', int(wait) }
    end
end

op_wish(op_key, wish, reason)
line_told(line_key)

return { 'wished', step }
