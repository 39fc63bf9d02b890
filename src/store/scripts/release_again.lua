--@include lib/operation.lua
--@include lib/line.lua

-- The subscription of a line that was released lives: what was to cancel it
-- was lost, and begins again.

--@key op(id)
--@key ops
--@key line(line)
--@arg id
--@arg line
--@arg subscription

--@value begun:int

local step = redis.call('HGET', op_key, 'step')

if step and step ~= 'done' then
    op_wake(op_key)
    return 0
end

local h = redis.call('HMGET', line_at(line_key), 'subscription', 'released',
                     'invoice')

if h[1] ~= subscription or not filled(h[2]) then
    return 0
end

op_begin(op_key, ops_key, id, 'release', 'cancel', 0, now_ms(), 'line', line,
         'subscription', subscription, 'invoice', h[3] or '')

return 1
