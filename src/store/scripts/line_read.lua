--@again
--@include lib/line.lua

-- A line request, as a client is told of it.
--
-- KEYS  1 line  2 tenant  3 operation
--
-- Returns { document, status, payment status, payment required (0|1), intent,
--           attempt, invoice's page, invoice, add-on that is to be read or "" },
-- page and invoice as JSON, and null unless payment is awaited; nothing where
-- there is no such line

local h = hash(KEYS[1])

if not h then
    return {}
end

local subscription = line_subscription(KEYS[2])
local url, invoice = 'null', 'null'

if h.status == 'awaiting_payment' then
    url, invoice = line_invoice(KEYS[3], subscription)
end

return { line_document(h, subscription), (line_public(h, subscription)),
         h.payment, h.required, h.intent or '', h.attempt or '',
         url, invoice, line_to_ask(h, now_ms()) and h.subscription or '' }
