--@again
--@include lib/tenant.lua

-- A tenant's own rate of a limit, in its record: none is made for it.

--@key tenant
--@arg field     -- "limit:LIMIT"
--@arg rate      -- "INTERVAL BURST RATE"

--@value stored:int -- 0 where there is no such tenant

if not tenant_there(tenant_key) then
    return 0
end

redis.call('HSET', tenant_key, field, rate)

return 1
