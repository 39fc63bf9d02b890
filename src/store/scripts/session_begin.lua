--@include lib/time.lua

-- An operator's session begins; of too many of his the oldest goes.

--@key session(hash)
--@key sessions(operator)
--@arg proof
--@arg time:int  -- ms, that it lasts
--@arg most:int  -- that he may have

--@value ends:int

local now = now_ms()
local ends = now + time
local hash = string.match(session_key, '[^:]+$')

-- what is further away than a session lasts is of a clock that was set back
redis.call('ZREMRANGEBYSCORE', sessions_key, '-inf', int(now))

local over = redis.call('ZCARD', sessions_key) + 1 - most

if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', sessions_key, 0, over - 1)) do
        redis.call('DEL', (string.gsub(session_key, '[^:]+$', old)))
        redis.call('ZREM', sessions_key, old)
    end
end

redis.call('HSET', session_key, 'operator',
           string.match(sessions_key, '[^:]+$'), 'proof', proof, 'ends',
           int(ends))
redis.call('PEXPIRE', session_key, time)
redis.call('ZADD', sessions_key, int(ends), hash)
redis.call('PEXPIRE', sessions_key, time)

return int(ends)
