--@again
--@light

-- Some of what a tenant that is being deleted leaves behind: first its keys.
-- Another of its name, by now, is none of the deletion's.

--@key tenant
--@key keys
--@key lines
--@key tickets
--@arg most:int

--@reply keys|lines|tickets ids...
--@reply rest customer          -- that it had, or ""
--@reply gone

local function some(of, ids)
    return #ids > 0 and { of, unpack(ids) }
end

if redis.call('HEXISTS', tenant_key, 'deleting') == 0 then
    return 'gone'
end

return some('keys', redis.call('SRANDMEMBER', keys_key, most))
       or some('lines', redis.call('ZRANGE', lines_key, 0, most - 1))
       or some('tickets', redis.call('ZRANGE', tickets_key, 0, most - 1))
       or { 'rest', redis.call('HGET', tenant_key, 'former_customer') or '' }
