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
--@arg reference?     -- the client's own; none: any
--@list ids           -- of the lines

--@row looked:int items:refs unclear:refs hidden...:ref
-- how many were looked at; of each that is shown: a text whose JSON begins with
-- its first brace, and what is to be said before its last one; { id, add-on of a
-- line that is to be read, … }; id of each that is not shown, …
--
-- Lua reads each character of each string that it makes: so none is made of a
-- document that has been read.

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

local USAGE = MORE.lines

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


local function usage(date, conversations, messages)
    local used = date == today

    return ',"usage":{"date":"' .. today .. '","newConversationsCount":'
           .. (used and conversations or '0') .. ',"totalMessagesCount":'
           .. (used and messages or '0') .. '}'
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


local function account(i, h, status, active, reason)
    local named = string.match(h.json, REFERENCE .. '(".-"),"isActive":')

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
           .. ',"operation":' .. js(h.operation or '')
           .. (named and ',"customer_reference":' .. named or '') .. '}'
end


local function item(i, h, status, active, reason)
    local more = ''

    if list == 'account' then
        return account(i, h, status, active, reason), ''
    end

    if status == 'awaiting_payment' and list ~= 'work' then
        local url, invoice = line_invoice(op_keys[i], subscription)
        more = ',"paymentUrl":' .. url .. ',"invoiceId":' .. invoice
    end

    if list == 'lines' then
        more = more .. usage(h.usage_date, h.usage_conversations,
                             h.usage_messages)
    end

    return document(line_keys[i], h, status, active), more
end


local items, hidden, unclear = {}, {}, {}
local looked, fetched = 0, 0
local texts = {}

-- The line's text, read along with those of the next ones that may be shown; of
-- the layout before there is none.
local function text_of(i)
    if i > fetched then
        fetched = most == 0 and n
                  or math.min(n, fetched + most - #items / 2)

        local found = redis.call('MGET', unpack(line_keys, i, fetched))

        for k = 1, #found do
            texts[i + k - 1] = found[k]
        end
    end

    return texts[i]
end


local function read(key, text)
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


-- The status of a line, and what is to be added, where its text says all else:
-- not for how long one that has ended is listed.
local function ready(key, text)
    if not text or list == 'account' then
        return
    end

    local status = string.match(text, '^2 (%S+) ')

    if not status or (status == 'active' and unpaid) then
        return
    end

    if list ~= 'lines' then
        return status, ''
    end

    if status ~= 'failed' and status ~= 'canceled' then
        return status, usage(unpack(redis.call('HMGET', line_record(key),
                                               unpack(USAGE))))
    end
end


-- its document is read for that alone
local function referred(i, text)
    return string.find(text or redis.call('HGET', line_keys[i], 'json') or '',
                       REFERENCE .. js(reference) .. ',"isActive":', 1, true)
end


local function look(i)
    local text = text_of(i)

    if reference and not referred(i, text) then
        return
    end

    local status, more = ready(line_keys[i], text)

    if status then
        if not wanted or status == wanted then
            return text, more
        end

        return
    end

    local h = read(line_keys[i], text)
    local active, reason

    status, active, reason = line_public(h, subscription)

    if line_to_ask(h, now) and #unclear < 2 * UNCLEAR then
        unclear[#unclear + 1] = ids[i]
        unclear[#unclear + 1] = h.subscription
    end

    if h.json and shown(h, status) then
        return item(i, h, status, active, reason)
    end
end


while looked < n and (most == 0 or #items < 2 * most) do
    looked = looked + 1

    local text, more = look(looked)

    if text then
        items[#items + 1] = text
        items[#items + 1] = more
    else
        hidden[#hidden + 1] = ids[looked]
    end
end

return { looked, items, unclear, unpack(hidden) }
