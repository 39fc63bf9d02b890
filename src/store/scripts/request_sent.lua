--@include lib/guard.lua
--@include lib/line.lua

-- The subscription of a paid line exists: send -> await.
--
-- KEYS  1 operation  2 line
-- ARGV  1 step  2 attempt  3 fence
--       4 lease (ms)  5 subscription  6 invoice  7 hosted page, "" for none
--       8 status of the invoice
--
-- Returns { "ok", intent or "", status of the answer or "",
--         answer or "" }
--       | { "lost", … }
--
-- A cancel that came meanwhile is the intent: the creation's result goes on
-- to void, and nobody is told to pay it.

if not guarded(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) then
    return lost(KEYS[1])
end

local now = now_ms()
local h = hash(KEYS[2])

line_save(KEYS[2], h, { subscription = ARGV[5], invoice = ARGV[6],
                        url = ARGV[7], attempt = ARGV[2] }, now)

redis.call('HSET', KEYS[1], 'step', 'await',
           'lease_until', int(now + tonumber(ARGV[4])),
           'subscription', ARGV[5], 'invoice', ARGV[6], 'url', ARGV[7],
           'invoice_status', ARGV[8])
redis.call('HDEL', KEYS[1], 'stuck', 'tries', 'absent_at')

-- What the client's request is answered with, and a repeat (answer_read.lua),
-- unless it is canceled; where that is wanted already, its end says which it
-- was.
if not redis.call('HGET', KEYS[1], 'intent') then
    redis.call('HSETNX', KEYS[1], 'answer_status', 201)
    redis.call('HSETNX', KEYS[1], 'answer',
               '{"success":true,"status":' .. js(h.status)
               .. ',"paymentStatus":' .. js(h.payment)
               .. ',"paymentRequired":' .. js_bool(h.required)
               .. ',"line":' .. h.json
               .. ',"paymentUrl":' .. js_or_null(ARGV[7])
               .. ',"invoiceId":' .. js_or_null(ARGV[6]) .. '}')
end

local known = redis.call('HMGET', KEYS[1], 'intent', 'answer_status',
                         'answer')

return { 'ok', known[1] or '', known[2] or '', known[3] or '' }
