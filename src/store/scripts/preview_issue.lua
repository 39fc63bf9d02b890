--@include lib/time.lua

-- Issues a preview token.  It is kept a while past its time, so that a confirm
-- that is late by little hears what it should.

--@key token(hash)
--@arg ttl:int        -- ms

--@value expires      -- the instant

local expires = now_ms() + ttl

redis.call('SET', token_key, 'valid ' .. int(expires),
           'PX', int(ttl + 60000))

return iso8601(expires)
