--@include lib/inventory.lua

-- Makes free what quarantine has passed.
--
-- KEYS  1 numbers  2 free  3 quarantined
--
-- Returns how many

return thaw(KEYS[1], KEYS[2], KEYS[3], now_ms(), 1000)
