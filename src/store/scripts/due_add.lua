--@include lib/time.lua

-- A hint: look at this operation at that instant.

--@key due
--@arg member=<tenant>\s<id>
--@arg delay:int      -- ms

return redis.call('ZADD', due_key, int(now_ms() + delay), member)
