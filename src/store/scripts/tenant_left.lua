--@again
--@light
--@include lib/tenant.lua

-- Some of what a tenant that is being deleted leaves behind: first its keys; what
-- went of the page before is off its list.  Another of its name, by now, is none
-- of the deletion's.

--@key tenant
--@key keys
--@key lines
--@key tickets
--@arg at:digits -- when the deletion began
--@arg most:int
--@arg list?     -- what the page before was of: keys, lines or tickets
--@list went     -- of it

--@reply keys|lines|tickets ids...
--@reply rest customer          -- that it had, or ""
--@reply gone
--@reply undone

local function some(of, ids)
    return #ids > 0 and { of, unpack(ids) }
end

if not tenant_leaves(tenant_key) then
    return tenant_undone(tenant_key, at) and 'undone' or 'gone'
end

if #went > 0 then
    if list == 'keys' then
        redis.call('SREM', keys_key, unpack(went))
    else
        redis.call('ZREM', list == 'lines' and lines_key or tickets_key,
                   unpack(went))
    end
end

return some('keys', redis.call('SRANDMEMBER', keys_key, most))
       or some('lines', redis.call('ZRANGE', lines_key, 0, most - 1))
       or some('tickets', redis.call('ZRANGE', tickets_key, 0, most - 1))
       or { 'rest', redis.call('HGET', tenant_key, 'former_customer') or '' }
