--@include lib/line.lua

-- The usage of a line today, as counted elsewhere: set, not added.
--
-- KEYS  1 line
-- ARGV  1 new conversations  2 messages
--
-- Returns { "set", document } | { "unknown" }

local now = now_ms()
local h = hash(KEYS[1])

if not h then
    return { 'unknown' }
end

redis.call('HSET', KEYS[1], 'usage_date', string.sub(iso8601(now), 1, 10),
           'usage_conversations', ARGV[1], 'usage_messages', ARGV[2])

return { 'set', h.json }
