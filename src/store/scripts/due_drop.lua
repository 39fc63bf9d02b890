--@include lib/time.lua

-- Drops the hint to an operation that is not there, but only when nothing can
-- begin it any more.
--
-- KEYS  1 due list
-- ARGV  1 member  2 ms that it must be overdue
--
-- Returns 1 where it was dropped

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])

if due and now_ms() - tonumber(due) >= tonumber(ARGV[2]) then
    return redis.call('ZREM', KEYS[1], ARGV[1])
end

return 0
