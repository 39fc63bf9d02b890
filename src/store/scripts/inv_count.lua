--@again
--@include lib/time.lua

-- The inventory by state.  Reads only.
--
-- KEYS  1 free  2 leased  3 assigned  4 quarantined
--
-- Returns { free, leased, assigned, quarantined }

local thawed = redis.call('ZCOUNT', KEYS[4], '-inf', int(now_ms()))

return { redis.call('ZCARD', KEYS[1]) + thawed,
         redis.call('ZCARD', KEYS[2]),
         redis.call('ZCARD', KEYS[3]),
         redis.call('ZCARD', KEYS[4]) - thawed }
