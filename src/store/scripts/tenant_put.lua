--@include lib/tenant.lua
--@include lib/time.lua
--@include lib/unpaid.lua

-- Creates a tenant or merges the members given.  A workspace's plan that is
-- written so is the operator's: the auditor leaves it, until billing writes it,
-- or says the same.

--@key tenant
--@key keys
--@key lines
--@key tickets
--@key pending
--@key deleted
--@key unpaid
--@list fields       -- field, value, …; a value of "" takes the field away

-- 1 where the tenant is new, else 0; -1: one of this name is being deleted, or
-- was not wholly: its API keys would be good for this one, its lines be listed
--@row created:int pending -- the latter: what may have a place now, or ""

local new = redis.call('EXISTS', tenant_key) == 0

if redis.call('HEXISTS', tenant_key, 'deleting') == 1
   or (new and tenant_left(keys_key, lines_key, tickets_key))
then
    return { -1, '' }
end

redis.call('HSETNX', tenant_key, 'plan', '')

-- what a former one of its name left, tokens and idempotency keys, names none
if new and redis.call('EXISTS', deleted_key) == 1 then
    redis.call('HSET', tenant_key, 'made', int(now_ms()))
end

local workspace = string.find(tenant_key, '{w:', 1, true)

for i = 1, #fields, 2 do
    if fields[i + 1] == '' and fields[i] ~= 'plan' then
        redis.call('HDEL', tenant_key, fields[i])
    else
        redis.call('HSET', tenant_key, fields[i], fields[i + 1])
    end

    if workspace and (fields[i] == 'plan' or fields[i] == 'subscription') then
        redis.call('HSET', tenant_key, 'plan_by', int(now_ms()))
    end
end

unpaid_tell(tenant_key, unpaid_key)

return { new and 1 or 0, redis.call('GET', pending_key) or '' }
