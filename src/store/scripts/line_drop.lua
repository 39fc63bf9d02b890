--@include lib/record.lua
--@include lib/tenant.lua
--@include lib/waited.lua

-- A line of a tenant that is being deleted goes, with its operation.  What is
-- paid for it from then on goes back: also where another tenant of that name is
-- deleted later.  What it was billed by besides, an attempt that was given up,
-- it never held: all of that goes back, whenever it came in.

--@key tenant
--@key line(id)
--@key op(id)
--@key owed(id)
--@arg id

--@value name -- by which it was found; "" where it stays

if not tenant_leaves(tenant_key) then
    return ''
end

local at = tonumber(redis.call('HGET', tenant_key, 'deleting')) or 0
local required, held = unpack(redis.call('HMGET', line_at(line_key),
                                         'required', 'subscription'))

-- 1: begun by a node of the release before; billing knows none that a plan
-- included from its begin, which has no such field
if at > 1 and (required == '1' or held) then
    local since = string.format('%.0f', math.floor(at / 1000))

    redis.call('SET', owed_key, held == '' and '0'
                                or held and since .. ' ' .. held or since,
               'NX', 'EX', 34560000)
end

redis.call('UNLINK', line_key, line_record(line_key), op_key)
line_told(line_key)

return id
