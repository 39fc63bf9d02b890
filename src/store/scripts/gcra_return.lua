--@light
--@include lib/bucket.lua

-- Gives back tokens that were taken and not used.

--@given limit as bucket
--@arg tokens:int
--@arg interval -- at which they were taken

local tat = tonumber(redis.call('GET', bucket_key) or 0)
local now = now_us()

if tat > now then
    bucket_put(bucket_key, tat - tokens * tonumber(interval), now)
end

return 0
