--@include lib/operation.lua
--@include lib/line.lua

-- A line that awaits payment takes a place of the plan, if one is free by now:
-- nobody is to pay for it.  It is kept for the line until that has ended, or was
-- paid for all the same.

--@key op(id)
--@key line(line)
--@key tenant
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@list plans -- plan, channel, how many it includes of each

--@reply taken|none
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local h = line_hash(line_key)
local own = hash(tenant_key) or {}

if not h or h.status ~= 'awaiting_payment' or own.subscription ~= 'active' then
    return 'none'
end

local taken = tonumber(own[h.channel .. '_included'] or 0)

for i = 1, #plans, 3 do
    if plans[i] == own.plan and plans[i + 1] == h.channel
       and taken < tonumber(plans[i + 2])
    then
        local changes = {}

        line_change_place(tenant_key, h, 'included', changes)
        line_save(line_key, h, changes, now_ms())
        redis.call('HSET', op_key, 'place', 'included')

        return 'taken'
    end
end

return 'none'
