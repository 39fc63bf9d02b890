--@include lib/time.lua

-- An operation has ended that may begin again under the same id.  Whoever
-- begins it writes the hint first: one that is fresh may be such, and stays
-- to be looked at once more.
--
-- KEYS  1 due list
-- ARGV  1 member  2 late (ms)
--
-- Returns 1 where it was dropped

local due = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')

if due and now_ms() - due >= tonumber(ARGV[2]) then
    return redis.call('ZREM', KEYS[1], ARGV[1])
end

return 0
