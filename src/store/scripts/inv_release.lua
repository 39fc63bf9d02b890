--@include lib/inventory.lua

-- The number that an operation holds, leased or assigned, goes back.
--
-- KEYS  1 numbers  2 free  3 quarantined  4 leased  5 assigned  6 operations
--       7 leases
-- ARGV  1 operation  2 tenant  3 quarantine (ms), 0 for none
--
-- Returns { "released", number } | { "none" }

local number = redis.call('HGET', KEYS[6], ARGV[1])

redis.call('ZREM', KEYS[7], ARGV[2] .. ' ' .. ARGV[1])

if not number then
    return { 'none' }
end

local h = number_read(KEYS[1], number)
local quarantine = tonumber(ARGV[3])

redis.call('HDEL', KEYS[6], ARGV[1])

if not h or h.operation ~= ARGV[1] then
    return { 'none' }
end

redis.call('ZREM', KEYS[4], number)
redis.call('ZREM', KEYS[5], number)

if quarantine > 0 then
    redis.call('HSET', KEYS[1], number, 'quarantined ' .. h.worker)
    redis.call('ZADD', KEYS[3], int(now_ms() + quarantine), number)
else
    redis.call('HSET', KEYS[1], number, 'free ' .. h.worker)
    redis.call('ZADD', KEYS[2], 0, number)
end

return { 'released', number }
