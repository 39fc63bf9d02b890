--@include lib/operation.lua
--@include lib/line.lua

-- The subscription of a paid line exists: send -> await.

--@key op(id)
--@key line(line)
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg lease:int      -- ms
--@arg rest:int       -- ms, until it is looked at
--@arg subscription
--@arg invoice
--@arg url            -- hosted page, "" for none
--@arg invoice_status

--@reply rests|goes now:int answer_status answer -- the two may be ""
--@reply lost step attempt fence

-- An open invoice is waited for: the lease is given back, unless there is news.
-- Where a cancel came meanwhile nobody is told to pay it.

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

local now = now_ms()
local h = line_hash(line_key)
local canceled = redis.call('HGET', op_key, 'wish') == 'cancel'
local rests = invoice_status == 'open' and not canceled
              and not op_woken(op_key)

line_save(line_key, h, { subscription = subscription, invoice = invoice,
                         url = url, attempt = attempt }, now)

op_next(op_key, 'await', rests and 0 or lease, now,
        'subscription', subscription, 'invoice', invoice, 'url', url,
        'invoice_status', invoice_status)
redis.call('HSET', op_key, 'due', int(now + rest))
redis.call('HDEL', op_key, 'absent_at', 'waits')

-- a page to pay: who wished for one has it, and a later void is no wish of his
if rests then
    redis.call('HDEL', op_key, 'wish')
end

-- What the client's request is answered with, and a repeat (answer_read.lua),
-- unless it is canceled; where that is wanted already, its end says which it
-- was.
if not canceled then
    redis.call('HSETNX', op_key, 'answer_status', 201)
    redis.call('HSETNX', op_key, 'answer',
               '{"success":true,"status":' .. js(h.status)
               .. ',"paymentStatus":' .. js(h.payment)
               .. ',"paymentRequired":' .. js_bool(h.required)
               .. ',"line":' .. h.json
               .. ',"paymentUrl":' .. js_or_null(url)
               .. ',"invoiceId":' .. js_or_null(invoice) .. '}')
end

local known = redis.call('HMGET', op_key, 'answer_status', 'answer')

return { rests and 'rests' or 'goes', int(now), known[1] or '', known[2] or '' }
