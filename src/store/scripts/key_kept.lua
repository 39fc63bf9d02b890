--@again
--@light
--@include lib/tenant.lua

-- Whether an API key is listed with a tenant that stays: one on its way out may
-- have deleted what the key was before it was stored, and not unlisted it yet.

--@key tenant
--@key keys
--@arg id -- of the key

--@value kept:int -- 1, or 0

return tenant_there(tenant_key) and redis.call('SISMEMBER', keys_key, id) or 0
