-- Deletes a tenant that has no live line and no unfinished operation.

--@key tenant
--@key ops
--@key pending
--@key keys

--@reply deleted|unknown|lines|operations
--@reply deleting -- once its keys are revoked, this is to be asked again

if redis.call('EXISTS', tenant_key) == 0 then
    return 'unknown'
end

-- what was decided stays decided: nothing begins in a tenant without a plan
if redis.call('HEXISTS', tenant_key, 'deleting') == 0 then
    if redis.call('SCARD', ops_key) > 0 then
        return 'operations'
    end

    if redis.call('EXISTS', pending_key) == 1 then
        return 'lines'
    end

    -- every live line takes a place, in a plan or in an account
    local places = redis.call('HMGET', tenant_key,
                              'phone_included', 'phone_paid',
                              'email_included', 'email_paid', 'account_lines')

    for i = 1, 5 do
        if tonumber(places[i] or 0) > 0 then
            return 'lines'
        end
    end
end

redis.call('DEL', tenant_key)

-- no key is to work for a tenant that is gone: it goes after the last of them
if redis.call('SCARD', keys_key) > 0 then
    redis.call('HSET', tenant_key, 'plan', '', 'deleting', 1)
    return 'deleting'
end

return 'deleted'
