--@again
--@light
--@include lib/inventory.lua

-- The inventory by state.  Reads only.

--@key inv_free
--@key inv_leased
--@key inv_assigned
--@key inv_quarantined
--@key inv_reserved

--@row free:int leased:int assigned:int quarantined:int

return { counts(inv_free_key, inv_leased_key, inv_assigned_key,
                inv_quarantined_key, inv_reserved_key, now_ms()) }
