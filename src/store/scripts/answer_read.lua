--@again
--@include lib/line.lua

-- What a repeat of a line request is answered with: the first answer again.
-- The link in it may be to an invoice that is void by now: it is the one that
-- can be paid now, none where there is none, and that of the payment once paid.

--@key op(id)
--@key line(id)
--@key tenant

--@row status:int answer   -- both empty while there is none

local AWAITING = '{"success":true,"status":"awaiting_payment",'

local op = redis.call('HMGET', op_key, 'answer_status', 'answer', 'url',
                      'invoice')
local status, answer = op[1] or '', op[2] or ''

if string.sub(answer, 1, #AWAITING) ~= AWAITING then
    return { status, answer }
end

local url, invoice = js_or_null(op[3]), js_or_null(op[4])

if redis.call('HGET', line_at(line_key), 'status') == 'awaiting_payment' then
    url, invoice = line_invoice(op_key, line_subscription(tenant_key))

    if url == 'null' then
        invoice = 'null'
    end
end

-- no text of a client's has that: its quotes are escaped
local first = string.find(answer, ',"paymentUrl":', 1, true)

return { status, string.sub(answer, 1, first and first - 1 or -2)
                 .. ',"paymentUrl":' .. url .. ',"invoiceId":' .. invoice
                 .. '}' }
