--@include lib/time.lua

-- The line that a hint names is not in provisioning.  The hint is dropped, but
-- only when nothing can begin that line any more.
--
-- KEYS  1 list of work
-- ARGV  1 member  2 ms that it must be old
--
-- Returns 1 where it was dropped

local since = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')

if not since or since + tonumber(ARGV[2]) >= now_ms() then
    return 0
end

return redis.call('ZREM', KEYS[1], ARGV[1])
