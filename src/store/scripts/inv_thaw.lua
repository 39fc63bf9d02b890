--@again
--@include lib/inventory.lua

-- Makes free what quarantine has passed.

--@key inv_numbers
--@key inv_free
--@key inv_quarantined

--@value freed:int

return thaw(inv_numbers_key, inv_free_key, inv_quarantined_key, now_ms(), 1000)
