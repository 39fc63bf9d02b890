--@again
--@light
--@include lib/record.lua

-- What a line is billed by, as its record says.  That of a tenant that is being
-- deleted holds nothing any more: what is paid meanwhile is nobody's.

--@key line(id)
--@key tenant

--@row subscription? status? suspended? reading? lapsed? ended? released? reason?

if redis.call('HEXISTS', tenant_key, 'deleting') == 1 then
    return {}
end

return redis.call('HMGET', line_at(line_key), 'subscription', 'status',
                  'suspended', 'reading', 'lapsed', 'ended', 'released', 'reason')
