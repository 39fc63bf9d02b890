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


local function drop(hashes)
    for _, old in ipairs(hashes) do
        redis.call('DEL', (string.gsub(session_key, '[^:]+$', old)))
        redis.call('ZREM', sessions_key, old)
    end
end

redis.call('ZREMRANGEBYSCORE', sessions_key, '-inf', int(now))

-- what ends further away than a session lasts is of a clock that was set back:
-- it would outlast this one, and those that come after it
drop(redis.call('ZRANGEBYSCORE', sessions_key, '(' .. int(ends), '+inf'))

local over = redis.call('ZCARD', sessions_key) + 1 - most

if over > 0 then
    drop(redis.call('ZRANGE', sessions_key, 0, over - 1))
end

redis.call('HSET', session_key, 'operator',
           string.match(sessions_key, '[^:]+$'), 'proof', proof, 'ends',
           int(ends))
redis.call('PEXPIRE', session_key, time)
redis.call('ZADD', sessions_key, int(ends), hash)
redis.call('PEXPIRE', sessions_key, time)

return int(ends)
