--@light
--@include lib/time.lua

-- A line's payment is looked up now, unless it was a moment ago.

--@key poll(id)
--@arg ms:int  -- that it may not be again

--@value ok?   -- nil: it was

-- one that is longer than that is of a clock that was set back
local rest = redis.call('PTTL', poll_key)

if rest >= 0 and rest <= ms then
    return false
end

return redis.call('SET', poll_key, 1, 'PX', int(ms)).ok
