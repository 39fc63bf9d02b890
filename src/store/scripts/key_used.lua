--@again
--@light
--@include lib/time.lua

-- An API key was used today.  One that was revoked meanwhile stays so.

--@key credential(id)

--@value told:int -- 1: it was not known yet

local day = math.floor(now_ms() / 86400000)

if redis.call('EXISTS', credential_key) == 0
   or (tonumber(redis.call('HGET', credential_key, 'used') or '') or 0) >= day
then
    return 0
end

redis.call('HSET', credential_key, 'used', int(day))

return 1
