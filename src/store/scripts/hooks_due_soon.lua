--@light
--@include lib/time.lua

-- A tenant's webhooks are to be looked at by then, or before.

--@key hooks_due(shard)
--@arg tenant
--@arg delay:int -- ms

--@value added:int

local at = now_ms() + delay
local due = tonumber(redis.call('ZSCORE', hooks_due_key, tenant) or '')

if due and due <= at then
    return 0
end

return redis.call('ZADD', hooks_due_key, int(at), tenant)
