--@light
--@include lib/time.lua

-- The line that a hint names is not in provisioning.  The hint is dropped, but
-- only when nothing can begin that line any more.

--@key prov
--@arg member=<tenant>\s<id>
--@arg age:int -- ms that it must be old

--@value dropped:int

local since = tonumber(redis.call('ZSCORE', prov_key, member) or '')

if not since or since + age >= now_ms() then
    return 0
end

return redis.call('ZREM', prov_key, member)
