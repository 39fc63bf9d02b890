--@include lib/time.lua

-- A hint: look at this operation at that instant.
--
-- KEYS  1 due list
-- ARGV  1 member  2 delay (ms)

return redis.call('ZADD', KEYS[1], int(now_ms() + tonumber(ARGV[2])), ARGV[1])
