-- A plan's own rate of a limit.  Every node keeps them all: their number is
-- bounded.
--
-- KEYS  1 plans' rates
-- ARGV  1 "LIMIT PLAN"   2 "INTERVAL BURST RATE"   3 how many there may be
--
-- Returns 1, or 0 where there are too many

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
   and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3])
then
    return 0
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])

return 1
