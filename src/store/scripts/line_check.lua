--@include lib/line.lua

-- Somebody wants to know whether a line works.  One check of a line runs at a
-- time, over all nodes; whoever comes meanwhile shares its result.
--
-- KEYS  1 line  2 the running check  3 tenant
-- ARGV  1 id of the asker's check  2 how long it may take (ms)
--       3 since when the asker waits (ms), "" the first time
--
-- Returns { "unknown" } | { "inactive", status } | { "unconfigured", channel }
--       | { "begin", document } | { "wait", now }
--       | { "result", health, failures, when it was checked }

local now = now_ms()
local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

local status, active = line_public(h, line_subscription(KEYS[3]))

if active ~= '1' then
    return { 'inactive', status }
end

local address = h.channel == 'email' and h.email or h.phone

if not address or address == '' then
    return { 'unconfigured', h.channel }
end

if redis.call('EXISTS', KEYS[2]) == 1 then
    return { 'wait', ARGV[3] == '' and int(now) or ARGV[3] }
end

-- the check that was waited for has ended, or its worker has
if ARGV[3] ~= '' and tonumber(h.health_at or 0) >= tonumber(ARGV[3]) then
    return { 'result', h.health, h.failures or '[]', iso8601(h.health_at) }
end

redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])

return { 'begin', h.json }
