--@include lib/time.lua

-- Issues a preview token.  It is kept a while past its time, so that a confirm
-- that is late by little hears what it should.
--
-- KEYS  1 token
-- ARGV  1 time to live (ms)
--
-- Returns the instant when it expires

local expires = now_ms() + tonumber(ARGV[1])

redis.call('SET', KEYS[1], 'valid ' .. int(expires),
           'PX', int(tonumber(ARGV[1]) + 60000))

return iso8601(expires)
