--@include lib/operation.lua
--@include lib/waited.lua

-- Moves an operation on, or writes down where it rests, and until when: unless
-- there is news, which is seen before.  So it is where a charge is given up, for
-- another or for none: nobody will look at it from then on.

--@key op(id)
--@arg step             -- it must be in
--@arg attempt:digits
--@arg fence:digits
--@arg next_step        -- it may be the same
--@arg lease:int        -- ms
--@arg rest:int?        -- ms; the lease is given back
--@list fields          -- field, value, …; an empty value takes it away

--@reply ok now:int
--@reply woken
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local now = now_ms()
local given_up = step == 'charge' and next_step ~= 'assign'

-- what it was about to write down was decided without knowing of that
if (rest or given_up) and op_woken(op_key) then
    op_lease(op_key, lease, now)
    return { 'woken' }
end

if next_step ~= step then
    op_next(op_key, next_step, lease, now)
else
    op_lease(op_key, rest and 0 or lease, now)
end

if rest then
    redis.call('HSET', op_key, 'due', int(now + rest))
end

for i = 1, #fields, 2 do
    if fields[i + 1] == '' then
        redis.call('HDEL', op_key, fields[i])
    else
        redis.call('HSET', op_key, fields[i], fields[i + 1])
    end

    -- by which an answer says how to pay (line_invoice())
    if fields[i] == 'invoice_status' then
        line_told(op_key)
    end
end

return { 'ok', int(now) }
