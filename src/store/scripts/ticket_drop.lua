--@include lib/tenant.lua

-- A ticket of a tenant that is being deleted goes.

--@key tenant
--@key ticket(id)

if tenant_leaves(tenant_key) then
    redis.call('UNLINK', ticket_key)
end
