--@again
--@light
--@include lib/time.lua

-- The inventory's clock, for who has a lease by another one: no later than that
-- ends is an instant of this one (inv_lease.lua).

--@key inv_leases

--@value now:int

return int(now_ms())
