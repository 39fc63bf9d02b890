-- A line of a tenant that is being deleted goes, with its operation.  What is
-- paid for it from then on goes back: also where another tenant of that name is
-- deleted later.

--@key tenant
--@key line(id)
--@key op(id)
--@key owed(id)

local at = tonumber(redis.call('HGET', tenant_key, 'deleting')) or 0
local line = redis.call('HMGET', line_key, 'required', 'subscription')

-- 1: begun by a node of the release before; billing knows none that a plan
-- includes
if at > 1 and (line[1] == '1' or (line[2] or '') ~= '') then
    redis.call('SET', owed_key, string.format('%.0f', math.floor(at / 1000)),
               'NX', 'EX', 34560000)
end

redis.call('UNLINK', line_key, op_key)
