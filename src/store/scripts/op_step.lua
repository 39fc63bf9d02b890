--@include lib/guard.lua

-- Moves an operation on, or writes down where it rests.
--
-- KEYS  1 operation
-- ARGV  1 step  2 attempt  3 fence: what it must be in
--       4 next step  5 lease (ms), "0" gives it back
--       6.. field, value pairs; a value of "" takes the field away
--
-- Returns { "ok", intent or "", dirty count } | { "lost", step, attempt, fence }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local lease = tonumber(ARGV[5])

redis.call('HSET', KEYS[1], 'step', ARGV[4],
           'lease_until', lease > 0 and int(now + lease) or '0')

-- progress: it is not stuck any more
if ARGV[4] ~= ARGV[1] then
    redis.call('HDEL', KEYS[1], 'stuck', 'tries')
end

for i = 6, #ARGV, 2 do
    if ARGV[i + 1] == '' then
        redis.call('HDEL', KEYS[1], ARGV[i])
    else
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end

local news = redis.call('HMGET', KEYS[1], 'intent', 'dirty')

return { 'ok', news[1] or '', news[2] or '' }
