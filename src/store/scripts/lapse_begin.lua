--@include lib/guard.lua
--@include lib/line.lua

-- An event says that an add-on has ended, was suspended or came back: it is to
-- be read.  So it is where somebody met a line that is unclear, but that is no
-- news: whoever reads it already has no reason to read it once more.
--
-- KEYS  1 operation  2 operations  3 line
-- ARGV  1 operation id  2 line id  3 subscription  4 "1": an event says so
--
-- Returns "begun" | "same" | "none" (no line holds it, it ended already, or is
--         not to be asked for now)

local now = now_ms()
local h = hash(KEYS[3]) or {}

if h.subscription ~= ARGV[3]
   or (h.status ~= 'active' and h.status ~= 'provisioning')
   or filled(h.released) or (filled(h.lapsed) and not line_unclear(h))
then
    return 'none'
end

local step = redis.call('HGET', KEYS[1], 'step')

if step and step ~= 'done' then
    if ARGV[4] == '1' then
        redis.call('HINCRBY', KEYS[1], 'dirty', 1)
    end

    return 'same'
end

if ARGV[4] ~= '1' and not line_to_ask(h, now) then
    return 'none'
end

-- one that says the opposite while it is read must not be taken for no news
redis.call('HSET', KEYS[3], 'reading', ARGV[1])
redis.call('HSET', KEYS[1], 'kind', 'lapse', 'line', ARGV[2],
           'step', 'read', 'attempt', 1, 'lease_until', 0,
           'subscription', ARGV[3], 'dirty', 0, 'begun', int(now))
redis.call('HINCRBY', KEYS[1], 'fence', 0)
redis.call('PERSIST', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])

return 'begun'
