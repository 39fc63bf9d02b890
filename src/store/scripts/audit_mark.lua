--@again
--@include lib/time.lua

-- Billing has shown what a line, or a workspace, is paid by.

--@key tenant
--@key line(line)? as marked

--@value marked:int

local key = marked_key or tenant_key

if redis.call('EXISTS', key) == 0 then
    return 0
end

redis.call('HSET', key, 'audited', int(now_ms()))

return 1
