--@include lib/guard.lua
--@include lib/line.lua

-- The attempt is dead, and proven so: await or send -> send with a new one.
--
-- KEYS  1 operation  2 line
-- ARGV  1 step  2 attempt  3 fence
--       4 lease (ms)  5 exact body  6 key of the new call
--
-- Returns { "ok", attempt, now } | { "canceling" } | { "lost", … }

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

-- nobody may pay for what is being canceled
if redis.call('HGET', KEYS[1], 'intent') then
    return { 'canceling' }
end

local now = now_ms()
local attempt = int(tonumber(ARGV[2]) + 1)

redis.call('HSET', KEYS[1], 'step', 'send', 'attempt', attempt,
           'lease_until', int(now + tonumber(ARGV[4])),
           'body', ARGV[5], 'key', ARGV[6], 'sent_at', int(now))
redis.call('HDEL', KEYS[1], 'subscription', 'invoice', 'url', 'absent_at',
           'invoice_status', 'stuck', 'tries')

line_save(KEYS[2], hash(KEYS[2]), { subscription = '', invoice = '',
                                    url = '', attempt = attempt }, now)

return { 'ok', attempt, int(now) }
