--@include lib/inventory.lua

-- Leases a number to an operation: the same one again where it holds one.
--
-- KEYS  1 numbers  2 free  3 quarantined  4 leased  5 operations  6 leases
-- ARGV  1 operation  2 tenant
--       3 not after (ms): whoever lost the operation meanwhile gets nothing;
--         "" for no bound
--       4 delay (ms) until somebody looks what became of it
--       5 area code wished for, or ""
--       6 the very number wanted, or ""
--
-- Returns { "leased"|"held", number, worker } | { "none" } | { "late" }
--       | { "taken", state } | { "unknown" }
--
-- A lease never frees itself.

local now = now_ms()
local held = redis.call('HGET', KEYS[5], ARGV[1])

if held then
    local h = number_read(KEYS[1], held)

    if ARGV[6] ~= '' and ARGV[6] ~= held then
        return { 'taken', h.state }
    end

    return { 'held', held, h.worker }
end

if ARGV[3] ~= '' and now > tonumber(ARGV[3]) then
    return { 'late' }
end

thaw(KEYS[1], KEYS[2], KEYS[3], now, 100)

local number

if ARGV[6] ~= '' then
    local h = number_read(KEYS[1], ARGV[6])

    if not h then
        return { 'unknown' }
    end

    if h.state ~= 'free' then
        return { 'taken', h.state }
    end

    number = ARGV[6]

elseif ARGV[5] ~= '' then
    number = redis.call('ZRANGEBYLEX', KEYS[2], '[+1' .. ARGV[5],
                        '[+1' .. ARGV[5] .. '\255', 'LIMIT', 0, 1)[1]
end

if not number then
    number = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
end

if not number then
    return { 'none' }
end

local h = number_read(KEYS[1], number)

redis.call('HSET', KEYS[1], number, 'leased ' .. h.worker .. ' ' .. ARGV[1]
                                    .. ' ' .. ARGV[2])
redis.call('ZREM', KEYS[2], number)
redis.call('ZADD', KEYS[4], 0, number)
redis.call('HSET', KEYS[5], ARGV[1], number)
redis.call('ZADD', KEYS[6], int(now + tonumber(ARGV[4])),
           ARGV[2] .. ' ' .. ARGV[1])

return { 'leased', number, h.worker }
