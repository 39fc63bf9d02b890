--@include lib/tenant.lua
--@include lib/time.lua

-- A tenant that has no live line and no unfinished operation stops to be one.

--@key tenant
--@key ops
--@key pending
--@key keys
--@key lines
--@key tickets
--@key deleted
--@key unpaid

--@reply deleting at:int           -- since when
--@reply gone|lines|operations

-- what was decided stays decided: nothing begins in a tenant without a plan
local began = redis.call('HGET', tenant_key, 'deleting')

if began then
    return { 'deleting', tonumber(began) }
end

if redis.call('EXISTS', tenant_key) == 0 then
    if not tenant_left(keys_key, lines_key, tickets_key) then
        return 'gone'
    end

else
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

-- billing's events no longer find it by its customer, but the deletion does
local customer = redis.call('HGET', tenant_key, 'customer') or ''

local now = int(now_ms())

redis.call('SET', deleted_key, now, 'EX', 34560000)
redis.call('DEL', tenant_key, unpaid_key)
redis.call('HSET', tenant_key, 'plan', '', 'deleting', now,
           'former_customer', customer)

return { 'deleting', tonumber(now) }
