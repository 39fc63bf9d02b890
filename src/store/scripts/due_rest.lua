--@light
--@include lib/time.lua

-- An operation is at rest, or cannot be run for now: it is to be looked at
-- later.  Who wrote since then that it is due knew better; what was to come
-- before, as the hint of its begin, is done with.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg ago:int   -- ms: it went to rest no longer ago
--@arg delay:int -- ms

--@value due:int -- ms from now

local now = now_ms()
local at = now + delay
local hint = tonumber(redis.call('ZSCORE', due_key, member) or '')

if hint and hint >= now - ago and hint <= now then
    at = hint
end

redis.call('ZADD', due_key, int(at), member)

return int(at - now)
