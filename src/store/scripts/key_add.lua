--@again

-- Lists an API key with its tenant, unless that is gone, or on its way out.

--@key tenant
--@key keys
--@arg id -- of the key

--@value listed:int -- 1, or 0

if redis.call('EXISTS', tenant_key) == 0
   or redis.call('HEXISTS', tenant_key, 'deleting') == 1
then
    return 0
end

redis.call('SADD', keys_key, id)

return 1
