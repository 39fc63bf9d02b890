--@include lib/time.lua

-- A hint: look at this operation at that instant.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg delay:int -- ms

--@value added:int

return redis.call('ZADD', due_key, int(now_ms() + delay), member)
