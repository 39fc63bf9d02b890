--@include lib/time.lua

-- A hint, before the line that holds a number ends: look what becomes of it.

--@key inv_leases
--@arg member=<tenant>\s<operation>
--@arg delay:int -- ms

return redis.call('ZADD', inv_leases_key, int(now_ms() + delay), member)
