-- Deletes a tenant that has no live line and no unfinished operation.
--
-- KEYS  1 tenant  2 operations  3 pending  4 API keys
--
-- Returns "deleted" | "unknown" | "lines" | "operations"
--       | "deleting": once its keys are revoked, this is to be asked again

if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'unknown'
end

-- what was decided stays decided: nothing begins in a tenant without a plan
if redis.call('HEXISTS', KEYS[1], 'deleting') == 0 then
    if redis.call('SCARD', KEYS[2]) > 0 then
        return 'operations'
    end

    if redis.call('EXISTS', KEYS[3]) == 1 then
        return 'lines'
    end

    -- every live line takes a place, in a plan or in an account
    local places = redis.call('HMGET', KEYS[1], 'phone_included', 'phone_paid',
                              'email_included', 'email_paid', 'account_lines')

    for i = 1, 5 do
        if tonumber(places[i] or 0) > 0 then
            return 'lines'
        end
    end
end

redis.call('DEL', KEYS[1])

-- no key is to work for a tenant that is gone: it goes after the last of them
if redis.call('SCARD', KEYS[4]) > 0 then
    redis.call('HSET', KEYS[1], 'plan', '', 'deleting', 1)
    return 'deleting'
end

return 'deleted'
