--@include lib/guard.lua

-- Takes an operation in hand: raises its fence and sets its lease.  The one
-- who holds it already claims it anew under the same fence.
--
-- KEYS  1 operation
-- ARGV  1 lease (ms)  2 fence held, "" or "0" for none
--
-- Returns { "claimed"|"done", now, field, value, … }
--       | { "busy", ms left, step } | { "none" }

local now = now_ms()
local held = redis.call('HMGET', KEYS[1], 'step', 'fence', 'lease_until')

if not held[1] then
    return { 'none' }
end

local word = 'claimed'

if held[1] == 'done' then
    word = 'done'

elseif ARGV[2] ~= '' and ARGV[2] ~= '0' and ARGV[2] == held[2] then
    redis.call('HSET', KEYS[1], 'lease_until', int(now + tonumber(ARGV[1])))

elseif tonumber(held[3] or 0) > now then
    return { 'busy', int(tonumber(held[3]) - now), held[1] }

else
    redis.call('HINCRBY', KEYS[1], 'fence', 1)
    redis.call('HSET', KEYS[1], 'lease_until', int(now + tonumber(ARGV[1])))
end

local reply = { word, int(now) }

for _, item in ipairs(redis.call('HGETALL', KEYS[1])) do
    reply[#reply + 1] = item
end

return reply
