--@again
--@light
--@include lib/record.lua

-- What a line is billed by, as its record says.  That of a tenant that is being
-- deleted holds nothing any more: what is paid meanwhile is nobody's.

--@key line(id)
--@key tenant
--@key deleted

--@row subscription? status? suspended? reading? lapsed? ended? released? reason? stranger?
-- stranger: 1, no tenant of the name is here, nor was deleted

if redis.call('HEXISTS', tenant_key, 'deleting') == 1 then
    return {}
end

local h = redis.call('HMGET', line_at(line_key), 'subscription', 'status',
                     'suspended', 'reading', 'lapsed', 'ended', 'released',
                     'reason')

h[9] = redis.call('EXISTS', tenant_key, deleted_key) == 0 and '1' or ''

return h
