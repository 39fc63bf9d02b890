--@include lib/bucket.lua

-- Gives back tokens that were taken and not used.
--
-- KEYS  1 bucket
-- ARGV  1 tokens   2 interval at which they were taken
--
-- Returns nothing of interest

local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
local now = now_us()

if tat > now then
    bucket_put(KEYS[1], tat - tonumber(ARGV[1]) * tonumber(ARGV[2]), now)
end

return 0
