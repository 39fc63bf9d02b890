--@light
--@include lib/time.lua

-- A hint: look at this operation at that instant, or sooner where it was to be
-- looked at by then: whoever asks for something, and is refused, does not put
-- off what others wait for.  That of an operation which was not there
-- (due_drop.lua) says nothing of the one that begins now.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg delay:int -- ms

--@value added:int

local now = now_ms()
local at = now + delay
local hint = tonumber(redis.call('ZSCORE', due_key, member) or '')

if hint and hint % 1 == 0 and hint < at then
    at = math.max(hint, now)
end

return redis.call('ZADD', due_key, int(at), member)
