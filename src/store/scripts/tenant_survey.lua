--@again
--@light
--@include lib/hook_keys.lua

-- What a tenant adds to the survey: its counts, how many events its webhooks
-- are to be told of once more, and which operations have not ended; and the
-- layout of its lines.

--@key tenant
--@key ops
--@key hooks
--@list fields        -- of its record

--@row operations:list layout? untold:int counts...

local operations = {}

for _, id in ipairs(redis.call('SMEMBERS', ops_key)) do
    if id ~= '' then
        operations[#operations + 1] = id
    end
end

local untold = 0

for _, id in ipairs(redis.call('ZRANGE', hooks_key, 0, -1)) do
    untold = untold + redis.call('ZCARD', hook_keys(hooks_key, id).due)
end

return { operations, redis.call('HGET', tenant_key, 'layout') or '', untold,
         unpack(redis.call('HMGET', tenant_key, unpack(fields))) }
