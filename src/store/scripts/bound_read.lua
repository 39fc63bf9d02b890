--@again
--@light
--@include lib/bound.lua
--@include lib/bucket.lua

-- Whether a purchase would be refused for what its account did lately: asked
-- before anything is announced; confirm_begin.lua asks again.  Takes nothing,
-- but drops what lies ahead of a clock that was set back.

--@key declined
--@key calls
--@key window
--@key ops
--@arg declines:int? -- none: however many
--@arg within:int    -- of these ms
--@arg interval?     -- µs in which it may ask billing once more; none: at will
--@arg size:int      -- so often at once

--@row which? ms:int
-- nothing where it would not; which: of lines_tenant_limits; until there may be
-- more

local now = now_ms()
local running = declines
                and bound_running(window_key,
                                  redis.call('SMEMBERS', ops_key), within, now)

local which, wait = bound_charge(declined_key, declines, running, within, now,
                                 bucket_wait, calls_key, interval, size)

return { which, wait }
