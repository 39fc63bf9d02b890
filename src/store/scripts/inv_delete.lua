--@include lib/inventory.lua

-- Takes a number out of the inventory, if nobody holds it.
--
-- KEYS  1 numbers  2 free  3 quarantined  4 all
-- ARGV  1 number
--
-- Returns { "deleted" } | { "unknown" } | { "held", state }

thaw(KEYS[1], KEYS[2], KEYS[3], now_ms(), 1000)

local h = number_read(KEYS[1], ARGV[1])

if not h then
    return { 'unknown' }
end

if h.state ~= 'free' then
    return { 'held', h.state }
end

redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])

return { 'deleted' }
