--@light
--@include lib/line.lua
--@include lib/unpaid.lua

-- Lines of a tenant that are of the layout before get this one, some at a time,
-- oldest first.  What a node of the release before makes afterwards keeps its
-- own: whoever reads a line knows both.

--@key tenant
--@key lines
--@key unpaid
--@arg most:int -- how many to look at

--@value left:int -- 1: there are others

local at = redis.call('HMGET', tenant_key, 'layout', 'deleting', 'plan')

if at[1] == '2' or at[2] or not at[3] then
    return 0
end

-- as "@N", so many of them have it
local from = tonumber(string.match(at[1] or '', '^@(%d+)$')) or 0
local ids = redis.call('ZRANGE', lines_key, int(from), int(from + most - 1))

unpaid_tell(tenant_key, unpaid_key)

for _, id in ipairs(ids) do
    line_convert(string.gsub(lines_key, 'lines$', 'line:') .. id)
end

redis.call('HSET', tenant_key, 'layout',
           #ids == most and '@' .. int(from + most) or '2')

return #ids == most and 1 or 0
