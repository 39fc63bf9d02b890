--@include lib/inventory.lua

-- The number that an operation has leased belongs to its line.
--
-- KEYS  1 numbers  2 leased  3 assigned
-- ARGV  1 number  2 operation
--
-- Returns { "assigned", worker } | { "refused", state or "unknown" }

local h = number_read(KEYS[1], ARGV[1])

if not h or h.operation ~= ARGV[2] then
    return { 'refused', h and h.state or 'unknown' }
end

if h.state == 'leased' then
    redis.call('HSET', KEYS[1], ARGV[1], 'assigned ' .. h.worker .. ' '
                                         .. h.operation .. ' ' .. h.tenant)
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZADD', KEYS[3], 0, ARGV[1])
end

return { 'assigned', h.worker }
