--@again
--@include lib/time.lua

-- The inventory by state.  Reads only.

--@key inv_free
--@key inv_leased
--@key inv_assigned
--@key inv_quarantined

--@row free:int leased:int assigned:int quarantined:int

local thawed = redis.call('ZCOUNT', inv_quarantined_key, '-inf', int(now_ms()))

return { redis.call('ZCARD', inv_free_key) + thawed,
         redis.call('ZCARD', inv_leased_key),
         redis.call('ZCARD', inv_assigned_key),
         redis.call('ZCARD', inv_quarantined_key) - thawed }
