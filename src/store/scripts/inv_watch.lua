--@light
--@include lib/inventory.lua

-- A hint, before the line that holds a number ends: look what becomes of it.
-- Its instant is no lease's: the purchase may be about to end just now.

--@key inv_leases
--@arg member=<tenant>\s<operation>
--@arg delay:int -- ms

return redis.call('ZADD', inv_leases_key, int(now_ms() + delay) .. WATCHED,
                  member)
