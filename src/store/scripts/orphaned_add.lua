--@again
-- Something is about to go back that may be of a tenant which was deleted, and
-- is in no list of tenants: whoever looks for lost hints looks here, too.

--@key orphaned
--@arg tenant

--@value added:int

redis.call('SADD', orphaned_key, tenant)

return redis.call('EXPIRE', orphaned_key, 34560000)
