--@light
--@include lib/time.lua

-- An unfinished operation has a hint: one that was lost is written again.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg delay:int   -- ms

--@value added:int -- 1 where it was lost

return redis.call('ZADD', due_key, 'NX', int(now_ms() + delay), member)
