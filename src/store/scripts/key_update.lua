--@again

-- Merges what is given into an API key of the tenant; what the key is itself
-- stays.

--@key credential(id)
--@arg tenant  -- whose it is to be
--@list fields -- field, value, …; a value of "" takes the field away

--@value there:int -- 0: it has no such key

if redis.call('HGET', credential_key, 'tenant') ~= tenant then
    return 0
end

for i = 1, #fields, 2 do
    if fields[i + 1] == '' then
        redis.call('HDEL', credential_key, fields[i])
    else
        redis.call('HSET', credential_key, fields[i], fields[i + 1])
    end
end

return 1
