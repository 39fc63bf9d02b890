--@again
--@light
--@include lib/time.lua

-- The hint of what is about to begin, by the clock of the list: that of the
-- tenant may be another one.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg delay:int -- ms

--@value added:int

return redis.call('ZADD', due_key, int(now_ms() + delay), member)
