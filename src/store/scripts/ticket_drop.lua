--@include lib/tenant.lua

-- A ticket of a tenant that is being deleted goes.

--@key tenant
--@key ticket(id)
--@arg id

--@value name -- by which it was found; "" where it stays

if not tenant_leaves(tenant_key) then
    return ''
end

redis.call('UNLINK', ticket_key)

return 'ticket.' .. id
