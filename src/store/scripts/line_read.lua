--@again
--@light
--@include lib/line.lua

-- A line request, as a client is told of it.

--@key line(id)
--@key tenant
--@key op(id)

--@row document status payment? required:int? wish? attempt:int? url? invoice? unclear? subscription?
-- nothing where there is no such line; required: payment, 0|1; url (the
-- invoice's page) and invoice: JSON, null unless payment is awaited; unclear:
-- the add-on that is to be read, or ""; subscription: of its workspace

local h = line_hash(line_key)

if not h then
    return {}
end

local subscription = line_subscription(tenant_key)
local url, invoice = 'null', 'null'

if h.status == 'awaiting_payment' then
    url, invoice = line_invoice(op_key, subscription)
end

return { line_document(h, subscription), (line_public(h, subscription)),
         h.payment, h.required, redis.call('HGET', op_key, 'wish') or '',
         h.attempt or '',
         url, invoice, line_to_ask(h, now_ms()) and h.subscription or '',
         subscription or '' }
