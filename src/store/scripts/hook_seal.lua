-- A webhook's secrets are sealed by the operator's present key, unless they
-- are others by now.

--@key hook(id)
--@arg secret
--@arg before?
--@arg secret_sealed
--@arg before_sealed?

--@value sealed:int

local now = redis.call('HMGET', hook_key, 'secret', 'before')

if now[1] ~= secret or (before and now[2] ~= before) then
    return 0
end

redis.call('HSET', hook_key, 'secret', secret_sealed)

if before and before_sealed then
    redis.call('HSET', hook_key, 'before', before_sealed)
end

return 1
