--@include lib/time.lua
--@include lib/tenant.lua

-- Issues a preview token.  It is kept a while past its time, so that a confirm
-- that is late by little hears what it should.

--@key token(hash)
--@key tenant
--@arg ttl:int        -- ms

--@value expires      -- the instant

local expires = now_ms() + ttl

redis.call('SET', token_key,
           'valid ' .. token_made(int(expires),
                                  redis.call('HGET', tenant_key, 'made')),
           'PX', int(ttl + 60000))

return iso8601(expires)
