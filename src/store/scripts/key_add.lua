--@again
--@include lib/tenant.lua

-- Lists an API key with its tenant, unless that is gone, or on its way out.

--@key tenant
--@key keys
--@arg id -- of the key

--@value listed:int -- 1, or 0

if not tenant_there(tenant_key) then
    return 0
end

redis.call('SADD', keys_key, id)

return 1
