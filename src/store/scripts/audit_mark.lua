--@again
--@light
--@include lib/time.lua
--@include lib/record.lua

-- Billing has shown what a line, or a workspace, is paid by.  Or some of a
-- line's money went back, and it is to be read until it turns out to be well.

--@key tenant
--@key line(line)? as marked
--@arg doubt?    -- begin or end: it is in doubt
--@arg ahead:int -- ms: so long nobody need look
--@arg plan_by?  -- as the workspace had it: billing says the same by now

--@value marked:int

local key = marked_key and line_at(marked_key) or tenant_key

if redis.call('EXISTS', key) == 0 then
    return 0
end

local now = int(now_ms() + ahead)

redis.call('HSET', key, doubt == 'begin' and 'doubted' or 'audited', now)

if doubt == 'end' then
    redis.call('HDEL', key, 'doubted')
end

if plan_by and redis.call('HGET', key, 'plan_by') == plan_by then
    redis.call('HSET', key, 'plan_by', 'billing')
end

return 1
