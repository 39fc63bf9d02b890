--@include lib/time.lua
--@include lib/json.lua
--@include lib/record.lua
--@include lib/journal.lua
--@include lib/waited.lua

-- A line is in two keys, which are written together: its public document, ready
-- to send (`line`), and a hash of what nobody is shown, or scripts decide by
-- (`record`).  Scripts see one table of fields:
--
--   id tenant (both of the key's name)
--   type(purchased|byon|inbound_only) first last email zipcode state forwards
--   image reference conversations messages (per-line limits): of the document alone, and
--   known where the line is made, or has the layout before
--   channel(phone|email) phone
--   status payment(paid|pending|failed|refunded) active(0|1)
--   required(0|1): payment, still
--   place(included|paid|account|""): what it takes of the plan, "" once freed
--   reason
--   usage_date usage_conversations usage_messages
--   health health_at failures
--   subscription invoice url attempt operation number worker
--   begun (the purchase) created updated released lapsed suspended ended (ms)
--   reading (the operation that asks billing) asked (ms, and nothing was decided)
--
-- The document is "LAYOUT STATUS PAYMENT REQUIRED JSON"; its LAYOUT is 2, or 2?
-- where it does not say all that an answer does: of a line that awaits payment,
-- or that billing is to be asked about.
--
-- The layout before was one hash of all fields at the document's name, with
-- `json`.  A line keeps its layout until line_convert() gives it the other: a
-- node of the release before, which knows that one alone, then gets WRONGTYPE
-- from Redis before it has changed the line: it reads first.

-- Of the document alone.  They stay as they were at the begin, so that they are
-- copied from document to document as they stand there: no text of a client's
-- has `,"phone":`, as its quotes are escaped.
local SHOWN = {
    type = true, first = true, last = true, email = true, zipcode = true,
    state = true, forwards = true, image = true, reference = true,
    conversations = true, messages = true
}

local PARTS = '(,"lineType":.-),"phone":.-(,"email":.-),"isActive":.-'
              .. '(,"dailyNewConversationsLimit":.-),"healthCheck":'


-- the client's own, where it gave one
local REFERENCE = ',"customerReference":'


local function filled(value)
    return value and value ~= ''
end


-- An end is known by its instant.  A line that lapsed before there was one may
-- have lost its add-on, or only not paid for it: billing is to be asked.
local function line_unclear(h)
    return filled(h.lapsed) and not filled(h.ended) and not filled(h.released)
end


-- Whether all that it cost goes back: it failed, or ended as one does, though it
-- was active (told.lua).  By itself the reason may be the provisioner's.
local function line_refunds(h)
    return h.status == 'failed'
           or (filled(h.ended) and h.reason == 'payment_refunded')
end


-- Since when (s) what is paid for a line that has ended is nobody's, or nil; if
-- that lies ahead, as the clock was set back, billing's own word is sooner
-- (lines_money_since()).
local function line_left(h)
    local at = tonumber(filled(h.ended) and h.ended or h.released)

    return at and math.floor(at / 1000)
end


-- Whether a read has it asked: not while it is, nor again soon where the answer
-- decided nothing; what lies ahead says nothing, as the clock was set back.  An
-- event may come at any time.
local ASK_AGAIN = 3600 * 1000

local function line_to_ask(h, now)
    return line_unclear(h) and filled(h.subscription) and not filled(h.reading)
           and (not filled(h.asked) or now - tonumber(h.asked) >= ASK_AGAIN
                or now < tonumber(h.asked))
end


-- What clients are told of a line: its status, whether it is active, its
-- reason.  The status of the record keeps its history.  What has ended for good
-- is canceled; what may come back is active, but suspended: because of its own
-- add-on, or of the workspace's subscription, which counts where it is given.
local function line_public(h, subscription)
    local unclear = line_unclear(h)

    if filled(h.lapsed) and not unclear then
        return 'canceled', '0', 'subscription_ended'
    end

    if filled(h.released) then
        return 'canceled', '0', 'released'
    end

    if h.status == 'active'
       and (filled(h.suspended) or unclear
            or (subscription and subscription ~= 'active'))
    then
        return 'active', '0', 'suspended'
    end

    return h.status, h.active, h.reason
end


-- of the workspace, as line_public() wants it; an account has none
local function line_subscription(tenant_key)
    return string.find(tenant_key, '{w:', 1, true)
           and redis.call('HGET', tenant_key, 'subscription')
end


-- as PARTS finds them
local function line_parts(h)
    -- of email lines it used to be empty
    local kind = filled(h.type) and h.type or 'purchased'

    return {
        ',"lineType":' .. js(kind)
        .. ',"firstName":' .. js(h.first or '')
        .. ',"lastName":' .. js(h.last or ''),

        ',"email":' .. js_or_null(h.email)
        .. ',"zipcode":' .. js_or_null(h.zipcode)
        .. ',"state":' .. js_or_null(h.state)
        .. ',"forwardCallsTo":' .. js_or_null(h.forwards)
        .. ',"profileImageUrl":' .. js_or_null(h.image)
        .. (filled(h.reference) and REFERENCE .. js(h.reference) or ''),

        ',"dailyNewConversationsLimit":' .. (h.conversations or '0')
        .. ',"dailyTotalMessagesLimit":' .. (h.messages or '0')
    }
end


local function line_document(h, subscription)
    local status, active, reason = line_public(h, subscription)

    local parts = h.parts or line_parts(h)

    local doc = {
        '{"_id":', js(h.id),
        ',"workspaceId":', js(string.sub(h.tenant, 3)),
        ',"channelType":', js(h.channel),
        parts[1],
        ',"phone":', js_or_null(h.phone),
        parts[2],
        ',"isActive":', js_bool(active),
        ',"provisioningStatus":', js(status),
        ',"paymentStatus":', js(h.payment),
        ',"paymentRequired":', js_bool(h.required),
        ',"reason":', js_or_null(reason),
        parts[3],
    }

    if h.health and h.health ~= '' then
        doc[#doc + 1] = ',"healthCheck":{"status":' .. js(h.health)
                        .. ',"lastCheckedAt":' .. js(iso8601(h.health_at))
                        .. '}'
    else
        doc[#doc + 1] = ',"healthCheck":null'
    end

    doc[#doc + 1] = ',"createdAt":' .. js(iso8601(h.created))
    doc[#doc + 1] = ',"updatedAt":' .. js(iso8601(h.updated)) .. '}'

    return table.concat(doc)
end


-- its document, or nil
local function line_json(key)
    local text = redis.call('GET', key)

    return text and string.match(text, '{.*}')
end


-- all of its fields, or nil
local function line_hash(key)
    local h = hash(line_record(key))

    if not h then
        return line_before(key) and hash(key) or nil
    end

    h.tenant, h.id = string.match(key, '^lines:{(.*)}:line:([^:]*)$')
    h.json = line_json(key) or ''

    local parts = { string.match(h.json, PARTS) }

    h.parts = parts[1] and parts

    return h
end


local function line_text(h)
    local asks = h.status == 'awaiting_payment' or line_unclear(h)
    local status = line_public(h)

    return '2' .. (asks and '? ' or ' ') .. status .. ' ' .. (h.payment or '')
           .. ' ' .. (h.required == '1' and '1' or '0') .. ' ' .. h.json
end


-- Writes fields of a line, and its document.  What is empty is not kept; but of
-- what billed a line once it is known that it does not any more.
local function line_write(key, h, fields)
    local args, empty = {}, {}

    for field, value in pairs(fields) do
        if field == 'id' or field == 'tenant' or field == 'json'
           or field == 'url' or SHOWN[field]
        then
            -- the key's name says it, the document, or the operation

        elseif value == '' and field ~= 'subscription' then
            empty[#empty + 1] = field

        else
            args[#args + 1] = field
            args[#args + 1] = value
        end
    end

    local record = line_record(key)

    redis.call('SET', key, line_text(h))
    redis.call('HSET', record, unpack(args))

    if #empty > 0 then
        redis.call('HDEL', record, unpack(empty))
    end
end


-- applies changes to the line and its document, which is told
local function line_save(key, h, changes, now)
    changes.updated = int(now)

    for field, value in pairs(changes) do
        changes[field] = tostring(value)
        h[field] = changes[field]
    end

    h.json = line_document(h)

    if line_before(key) then
        local args = {}

        for field, value in pairs(changes) do
            args[#args + 1] = field
            args[#args + 1] = value
        end

        redis.call('HSET', key, 'json', h.json, unpack(args))
    else
        line_write(key, h, changes)
    end

    line_told(key)
end


-- A line that nodes of the release before are to know begins so.  Its tenant may
-- have been laid out already (lines_layout.lua), and is not any more.
local function line_begin_before(tenant, key, id)
    redis.call('HSET', key, 'id', id)
    redis.call('HDEL', tenant, 'layout')
end


-- What is of the layout before gets this one.
local function line_convert(key)
    if not line_before(key) then
        return
    end

    local h = hash(key)

    h.json = line_document(h)
    line_write(key, h, h)
end


-- the place in the plan that the line took is free again
local function line_free_place(tenant_key, h, changes)
    if h.place and h.place ~= '' then
        redis.call('HINCRBY', tenant_key,
                   h.place == 'account' and 'account_lines'
                   or h.channel .. '_' .. h.place, -1)
        changes.place = ''
    end
end


-- the same for another place of the same plan
local function line_change_place(tenant_key, h, place, changes)
    redis.call('HINCRBY', tenant_key, h.channel .. '_' .. h.place, -1)
    redis.call('HINCRBY', tenant_key, h.channel .. '_' .. place, 1)
    changes.place = place
end


-- it is not paid for at the moment, and not active until it is
local function line_suspend(line_key, events_key, h, now, changes)
    changes.suspended = int(now)
    line_save(line_key, h, changes, now)
    event(events_key, now, 'line.suspended', 'line', h.id, 'from', h.status,
          'to', h.status, 'reason', 'suspended')
end


-- what ever became of a tenant's lines, exactly: metrics add these up
local function count_move(tenant_key, from, to)
    redis.call('HINCRBY', tenant_key, 'moves:' .. from .. ':' .. to, 1)
end


-- What an unpaid line is paid by, as JSON: the page of its invoice while that
-- is open, nobody cancels it, no place of the plan is kept for it and the
-- workspace may pay, and the invoice.
local function line_invoice(op_key, subscription)
    local op = redis.call('HMGET', op_key, 'url', 'invoice', 'invoice_status',
                          'wish', 'place')
    local payable = op[3] == 'open' and op[4] ~= 'cancel' and not op[5]
                    and (subscription == 'active'
                         or subscription == 'past_due')

    return js_or_null(payable and op[1]), js_or_null(op[2])
end


-- the body of an answer about a line request
local function line_answer(h)
    return '{"success":true,"status":' .. js((line_public(h)))
           .. ',"paymentStatus":' .. js(h.payment)
           .. ',"paymentRequired":' .. js_bool(h.required)
           .. ',"line":' .. h.json .. '}'
end
