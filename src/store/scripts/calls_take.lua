--@light
--@include lib/time.lua
--@include lib/bucket.lua

-- A tenant is about to have billing asked for nothing that is kept.

--@key calls
--@arg interval   -- µs in which it may ask billing once more
--@arg size:int   -- so often at once

--@value ms:int   -- until it may; 0: it may, and that is counted

return int(bucket_take(calls_key, tonumber(interval), size))
