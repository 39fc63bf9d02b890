--@again
--@light
--@include lib/time.lua

-- The rate of a limit that a tenant has of its own, and its plan.  When they
-- were so is for the clock of this store to say: of several answers the latest
-- counts, whichever node has it.

--@key tenant
--@arg limit

--@row now:int rate? plan?

local found = redis.call('HMGET', tenant_key, 'limit:' .. limit, 'plan')

return { now_ms(), found[1], found[2] }
