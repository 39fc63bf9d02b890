--@again

-- Whether a tenant is there, and not on its way out.

--@key tenant

--@value known:int -- 1, or 0

if redis.call('HEXISTS', tenant_key, 'deleting') == 1 then
    return 0
end

return redis.call('EXISTS', tenant_key)
