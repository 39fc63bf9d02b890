--@include lib/operation.lua
--@include lib/line.lua

-- The billing of a line has ended: its subscription is gone and, but for a
-- release, what was paid has been paid back.

--@key op(id)
--@key ops
--@key line(line)?  -- it may be gone, and an orphan has none
--@key events
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg payment      -- status that the line gets; "" leaves it
--@arg subscription
--@arg name         -- of the event

--@reply ok
--@reply woken        -- money came in meanwhile
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

if op_recount(op_key) then
    return { 'woken' }
end

local now = now_ms()
local h = line_key and line_hash(line_key)

-- an orphan's line, if there is one, is about another subscription
if h and payment ~= '' and h.subscription == subscription then
    line_save(line_key, h, { payment = payment }, now)
end

event(events_key, now, name, 'line', h and h.id or '',
      'subscription', subscription)
op_end(op_key, ops_key, id, nil, now)

return { 'ok' }
