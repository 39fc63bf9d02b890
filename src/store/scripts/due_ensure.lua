--@include lib/time.lua

-- An unfinished operation has a hint: one that was lost is written again.
--
-- KEYS  1 due list
-- ARGV  1 member  2 delay (ms)
--
-- Returns 1 where it was lost

return redis.call('ZADD', KEYS[1], 'NX', int(now_ms() + tonumber(ARGV[2])),
                  ARGV[1])
