--@again
--@light

-- What a tenant adds to the survey: its counts, and which operations have not
-- ended.

--@key tenant
--@key ops
--@list fields        -- of its record

--@row operations:list counts...

local operations = {}

for _, id in ipairs(redis.call('SMEMBERS', ops_key)) do
    if id ~= '' then
        operations[#operations + 1] = id
    end
end

return { operations,
         unpack(redis.call('HMGET', tenant_key, unpack(fields))) }
