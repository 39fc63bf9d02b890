--@again
--@light
--@include lib/tenant.lua

-- Whether a tenant is there, and not on its way out.

--@key tenant

--@value known:int -- 1, or 0

return tenant_there(tenant_key) and 1 or 0
