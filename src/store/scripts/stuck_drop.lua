--@light
--@include lib/time.lua

-- What the list of those that are stuck names is not, as its record was read.
-- It is put there before its record says so: one that has just been stays.

--@key stuck
--@arg member
--@arg age:int -- ms that it must be listed for

--@value dropped:int

local at = tonumber(redis.call('ZSCORE', stuck_key, member) or '')

if not at or left(at + age, now_ms(), 2 * age) > 0 then
    return 0
end

return redis.call('ZREM', stuck_key, member)
