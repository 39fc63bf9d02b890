--@include lib/time.lua
--@include lib/record.lua

-- The usage of a line today, as counted elsewhere: set, not added.

--@key line(id)
--@arg conversations:digits -- new ones
--@arg messages:digits

--@reply set|unknown

local now = now_ms()

if redis.call('EXISTS', line_key) == 0 then
    return { 'unknown' }
end

redis.call('HSET', line_at(line_key), 'usage_date',
           string.sub(iso8601(now), 1, 10),
           'usage_conversations', conversations, 'usage_messages', messages)

return { 'set' }
