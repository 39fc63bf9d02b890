--@again
--@include lib/tenant.lua

-- A rate of a limit's own: a tenant's is in its record, and none is made for
-- it; those of plans are kept by every node, and their number is bounded.

--@given limits  -- or the tenant's
--@arg field     -- "LIMIT PLAN", "limit:LIMIT"
--@arg rate      -- "INTERVAL BURST RATE"
--@arg plan:flag
--@arg most:int  -- how many of plans there may be

--@reply stored|unknown|full

if not plan and not tenant_there(limits_key) then
    return 'unknown'
end

if plan and redis.call('HEXISTS', limits_key, field) == 0
   and redis.call('HLEN', limits_key) >= most
then
    return 'full'
end

redis.call('HSET', limits_key, field, rate)

return 'stored'
