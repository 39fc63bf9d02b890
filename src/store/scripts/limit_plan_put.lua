-- A plan's own rate of a limit.  Every node keeps them all: their number is
-- bounded.

--@key limits
--@arg field    -- "LIMIT PLAN"
--@arg rate     -- "INTERVAL BURST RATE"
--@arg most:int -- how many there may be

--@value stored:int -- 0 where there are too many

if redis.call('HEXISTS', limits_key, field) == 0
   and redis.call('HLEN', limits_key) >= most
then
    return 0
end

redis.call('HSET', limits_key, field, rate)

return 1
