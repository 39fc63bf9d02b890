--@again
--@light

-- What a tenant adds to the survey: its counts, and which operations have not
-- ended; and the layout of its lines.

--@key tenant
--@key ops
--@list fields        -- of its record

--@row operations:list layout? counts...

local operations = {}

for _, id in ipairs(redis.call('SMEMBERS', ops_key)) do
    if id ~= '' then
        operations[#operations + 1] = id
    end
end

return { operations, redis.call('HGET', tenant_key, 'layout') or '',
         unpack(redis.call('HMGET', tenant_key, unpack(fields))) }
