--@include lib/operation.lua
--@include lib/line.lua
--@include lib/declined.lua

-- All that a purchase did is undone: its place in the windows is free again; as
-- it is given back, a charge that was declined is counted.
-- The answer was recorded when the undo began.

--@key op(id)
--@key ops
--@key window
--@key events
--@given idem?
--@key declined
--@key owed(id) as unlooked
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id

--@reply ok
--@reply woken -- money came in meanwhile: it is looked for once more
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

if op_recount(op_key) then
    redis.call('HSET', op_key, 'step', 'undo:charge')
    return { 'woken' }
end

local now = now_ms()

redis.call('ZREM', window_key, id)

if redis.call('HEXISTS', op_key, 'declined') == 1 then
    declined_add(declined_key, id, now)
end

-- whatever it has cost is due, also what comes in, or fails, later
op_owes(op_key, unlooked_key)

event(events_key, now, 'purchase.undone', 'operation', id, 'status',
      redis.call('HGET', op_key, 'answer_status') or '')

op_end(op_key, ops_key, id, idem_key, now)

return { 'ok' }
