--@include lib/time.lua
--@include lib/tenant.lua

-- Issues a preview token.  It is kept a while past its time, so that a confirm
-- that is late by little hears what it should.  It counts as open for its time,
-- also where a confirm is refused, which leaves a record.

--@key token(hash)
--@key tenant
--@key previews
--@key area(id)
--@arg ttl:int        -- ms
--@arg preview=<hash>
--@arg most:int?      -- open at a time; none: as many as are asked for
--@arg prefix?      -- of the number that it wishes for

--@reply issued expires -- the instant
--@reply full ms:int    -- until there may be one more

-- no token is good for longer (LINES_PREVIEW_TTL_MAX)
local LONGEST = 86400000

local now = now_ms()
local expires = now + ttl

redis.call('ZREMRANGEBYSCORE', previews_key, '-inf', int(now))

-- nor is one that was issued by a clock that has been set back by more
redis.call('ZREMRANGEBYSCORE', previews_key, '(' .. int(now + LONGEST), '+inf')

if most and redis.call('ZCARD', previews_key) >= most then
    local first = redis.call('ZRANGE', previews_key, 0, 0, 'WITHSCORES')

    -- one that is further away may be of a clock that has been set back
    return { 'full', int(math.min(tonumber(first[2]) - now, ttl)) }
end

redis.call('ZADD', previews_key, int(expires), preview)

if redis.call('PTTL', previews_key) < ttl then
    redis.call('PEXPIRE', previews_key, int(ttl))
end

redis.call('SET', token_key,
           'valid ' .. token_made(int(expires),
                                  redis.call('HGET', tenant_key, 'made')),
           'PX', int(ttl + 60000))

if prefix then
    redis.call('SET', area_key, prefix, 'PX', int(ttl + 60000))
end

return { 'issued', iso8601(expires) }
