--@again
--@light
--@include lib/time.lua

-- An operation that somebody has to look at, by the clock of the list: that of
-- the tenant may be another one.

--@key stuck
--@arg member=<tenant>\s<id>

--@value added:int

return redis.call('ZADD', stuck_key, int(now_ms()), member)
