--@light
--@include lib/line.lua

-- A check of a line has ended.

--@key line(line)
--@key check(line)    -- the running one
--@arg id             -- of the check
--@arg health?        -- healthy|down; none: it was not made
--@arg failures       -- a JSON array

--@reply stored|none when
--@reply late when    -- it took longer than it may, another runs, and the line
                      -- keeps what it says
--@reply unknown

local now = now_ms()
local mine = redis.call('GET', check_key) == id

if mine then
    redis.call('DEL', check_key)
end

if not health then
    return { 'none', iso8601(now) }
end

local h = line_hash(line_key)

if not h then
    return { 'unknown' }
end

if not mine then
    return { 'late', iso8601(now) }
end

line_save(line_key, h, { health = health, health_at = int(now),
                        failures = failures }, now)

return { 'stored', iso8601(now) }
