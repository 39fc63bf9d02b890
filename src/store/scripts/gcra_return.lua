--@light
--@include lib/bucket.lua

-- Gives back a token that was taken and not used.

--@given limit as bucket
--@arg interval -- at which it was taken

local tat = tonumber(redis.call('GET', bucket_key) or 0)
local now = now_us()

if tat > now then
    bucket_put(bucket_key, tat - tonumber(interval), now)
end

return 0
