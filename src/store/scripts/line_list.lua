--@again
--@light
--@include lib/line.lua

-- Some lines of a tenant, one after the other, as a list shows them.

--@key tenant
--@keys line(ids)
--@keys op(ids)
--@arg list           -- requests|lines|account|work
--@arg most:int       -- how many to show at the most, 0 for all
--@arg wanted?        -- status; none: any
--@list ids           -- of the lines

--@row looked:int shown:int text:ref unclear:refs hidden...:ref
-- how many were looked at, how many are shown, these as JSON with commas
-- between, { id, add-on of a line that is to be read, … }, id of each that is
-- not shown, …

local KEEP = 30 * 86400 * 1000

-- a list that is long may come again for the others
local UNCLEAR = 5

local FIELDS = { 'json', 'status', 'active', 'reason', 'released', 'lapsed',
                 'suspended', 'ended', 'updated', 'subscription',
                 'reading', 'asked' }

local MORE = {
    requests = {},
    work     = {},
    lines    = { 'usage_date', 'usage_conversations', 'usage_messages' },
    account  = { 'phone', 'worker', 'operation', 'created' }
}

local n = #ids
local now = now_ms()
local today = string.sub(iso8601(now), 1, 10)
local subscription = line_subscription(tenant_key)
local unpaid = subscription and subscription ~= 'active'

-- lists that show nothing but the document
local whole = list == 'requests' or list == 'work'

for _, field in ipairs(MORE[list]) do
    FIELDS[#FIELDS + 1] = field
end


-- the document as it was stored, unless it says something else than holds now
local function document(key, h, status, active)
    if (status == 'canceled' and h.status ~= 'canceled'
        and not string.find(h.json, '"provisioningStatus":"canceled"', 1, true))
       or (active ~= '1' and h.active == '1' and not filled(h.suspended))
       or line_unclear(h)
       or string.find(h.json, '"lineType":""', 1, true)
    then
        return line_document(line_hash(key), subscription)
    end

    return h.json
end


local function with(doc, more)
    return string.sub(doc, 1, -2) .. more .. '}'
end


local function instant(ms)
    return filled(ms) and js(iso8601(ms)) or 'null'
end


-- one that has ended is shown a while in the list of lines
local function shown(h, status)
    if list ~= 'lines'
       or (status ~= 'failed' and status ~= 'canceled' and not line_unclear(h))
    then
        return not wanted or status == wanted
    end

    local at = (filled(h.ended) and h.ended) or (filled(h.lapsed) and h.lapsed)
               or (filled(h.released) and h.released) or h.updated or now

    return now - tonumber(at) <= KEEP
end


local function item(i, h, status, active, reason)
    local doc

    if list == 'account' then
        return '{"id":' .. js(ids[i])
               .. ',"phone_number":' .. js(h.phone or '')
               .. ',"worker_id":' .. js(h.worker or '')
               .. ',"subscription_id":' .. js(h.subscription or '')
               .. ',"direction":"inbound_only"'
               .. ',"status":' .. js(status)
               .. ',"active":' .. js_bool(active)
               .. ',"reason":' .. js_or_null(reason)
               .. ',"created_at":' .. instant(h.created)
               .. ',"updated_at":' .. instant(h.updated)
               .. ',"released_at":' .. instant(h.released)
               .. ',"operation":' .. js(h.operation or '') .. '}'
    end

    doc = document(line_keys[i], h, status, active)

    if list == 'work' then
        return doc
    end

    if status == 'awaiting_payment' then
        local url, invoice = line_invoice(op_keys[i], subscription)
        doc = with(doc, ',"paymentUrl":' .. url .. ',"invoiceId":' .. invoice)
    end

    if list == 'lines' then
        local used = h.usage_date == today

        doc = with(doc, ',"usage":{"date":"' .. today
                        .. '","newConversationsCount":'
                        .. (used and h.usage_conversations or '0')
                        .. ',"totalMessagesCount":'
                        .. (used and h.usage_messages or '0') .. '}')
    end

    return doc
end


-- of the layout before, there is no text
local function read(key)
    local text = redis.call('MGET', key)[1]
    local values = redis.call('HMGET', text and line_record(key) or key,
                              unpack(FIELDS))
    local h = {}

    for i, field in ipairs(FIELDS) do
        h[field] = values[i] or nil
    end

    if text then
        h.json = string.match(text, '{.*}')
    end

    return h
end


-- the status and the document of a line whose text says it all
local function ready(key)
    local text = whole and redis.call('MGET', key)[1]
    local status, doc = string.match(text or '', '^2 (%S+) [^{]*(.*)$')

    if status and not (status == 'active' and unpaid) then
        return status, doc
    end
end


local items, hidden, unclear = {}, {}, {}
local looked = 0

local function look(i)
    local status, doc = ready(line_keys[i])

    if status then
        return (not wanted or status == wanted) and doc
    end

    local h = read(line_keys[i])
    local active, reason

    status, active, reason = line_public(h, subscription)

    if line_to_ask(h, now) and #unclear < 2 * UNCLEAR then
        unclear[#unclear + 1] = ids[i]
        unclear[#unclear + 1] = h.subscription
    end

    return h.json and shown(h, status) and item(i, h, status, active, reason)
end


while looked < n and (most == 0 or #items < most) do
    looked = looked + 1

    local text = look(looked)

    if text then
        items[#items + 1] = text
    else
        hidden[#hidden + 1] = ids[looked]
    end
end

return { looked, #items, table.concat(items, ','), unclear, unpack(hidden) }
