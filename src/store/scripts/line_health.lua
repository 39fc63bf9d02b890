--@include lib/line.lua

-- A check of a line has ended.
--
-- KEYS  1 line  2 the running check
-- ARGV  1 id of the check  2 health (healthy|down), "": it was not made
--       3 failures, a JSON array
--
-- Returns { "stored"|"late"|"none", when } | { "unknown" }; late: it took
-- longer than it may, another runs, and the line keeps what it says.

local now = now_ms()
local mine = redis.call('GET', KEYS[2]) == ARGV[1]

if mine then
    redis.call('DEL', KEYS[2])
end

if ARGV[2] == '' then
    return { 'none', iso8601(now) }
end

local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

if not mine then
    return { 'late', iso8601(now) }
end

line_save(KEYS[1], h, { health = ARGV[2], health_at = int(now),
                        failures = ARGV[3] }, now)

return { 'stored', iso8601(now) }
