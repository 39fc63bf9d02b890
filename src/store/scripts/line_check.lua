--@light
--@include lib/line.lua

-- Somebody wants to know whether a line works.  One check of a line runs at a
-- time, over all nodes; whoever comes meanwhile shares its result.

--@key line(line)
--@key check(line)    -- the running one
--@key tenant
--@arg id             -- of the asker's check
--@arg ttl:digits     -- how long it may take, ms
--@arg since?         -- when the asker began to wait, ms

--@reply unknown
--@reply inactive status
--@reply unconfigured channel?
--@reply begin document:ref?
--@reply wait now
--@reply result health failures when

local now = now_ms()
local h = line_hash(line_key)

if not h then
    return { 'unknown' }
end

local status, active = line_public(h, line_subscription(tenant_key))

if active ~= '1' then
    return { 'inactive', status }
end

local address = h.channel == 'email' and '"email":"' or '"phone":"'

if not string.find(h.json, address, 1, true) then
    return { 'unconfigured', h.channel }
end

-- a check that may take longer than that is of a clock that was set back
local runs = redis.call('PTTL', check_key)

if runs >= 0 and runs <= tonumber(ttl) then
    return { 'wait', since or int(now) }
end

-- the check that was waited for has ended, or its worker has
if since and tonumber(h.health_at or 0) >= tonumber(since) then
    return { 'result', h.health, h.failures or '[]', iso8601(h.health_at) }
end

redis.call('SET', check_key, id, 'PX', ttl)

return { 'begin', h.json }
