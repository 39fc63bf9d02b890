--@include lib/time.lua
--@include lib/json.lua

-- A line is a hash of fields; `json` is its public document, ready to send,
-- rewritten by whatever script changes a field.
--
--   id tenant channel(phone|email) type(purchased|byon|inbound_only)
--   first last phone email zipcode state forwards image
--   status payment(paid|pending|failed|refunded) active(0|1)
--   required(0|1): payment, still
--   place(included|paid|account|""): what it takes of the plan, "" once freed
--   reason conversations messages (per-line limits)
--   usage_date usage_conversations usage_messages
--   health health_at failures
--   subscription invoice url attempt operation number worker
--   begun (the purchase) created updated released lapsed suspended ended (ms)
--   reading (the operation that asks billing) asked (ms, and nothing was decided)

local function filled(value)
    return value and value ~= ''
end


-- An end is known by its instant.  A line that lapsed before there was one may
-- have lost its add-on, or only not paid for it: billing is to be asked.
local function line_unclear(h)
    return filled(h.lapsed) and not filled(h.ended) and not filled(h.released)
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


local function line_document(h, subscription)
    local status, active, reason = line_public(h, subscription)

    -- of email lines it used to be empty
    local kind = filled(h.type) and h.type or 'purchased'

    local doc = {
        '{"_id":', js(h.id),
        ',"workspaceId":', js(string.sub(h.tenant, 3)),
        ',"channelType":', js(h.channel),
        ',"lineType":', js(kind),
        ',"firstName":', js(h.first or ''),
        ',"lastName":', js(h.last or ''),
        ',"phone":', js_or_null(h.phone),
        ',"email":', js_or_null(h.email),
        ',"zipcode":', js_or_null(h.zipcode),
        ',"state":', js_or_null(h.state),
        ',"forwardCallsTo":', js_or_null(h.forwards),
        ',"profileImageUrl":', js_or_null(h.image),
        ',"isActive":', js_bool(active),
        ',"provisioningStatus":', js(status),
        ',"paymentStatus":', js(h.payment),
        ',"paymentRequired":', js_bool(h.required),
        ',"reason":', js_or_null(reason),
        ',"dailyNewConversationsLimit":', h.conversations or '0',
        ',"dailyTotalMessagesLimit":', h.messages or '0',
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


-- applies changes to the line and its document
local function line_save(key, h, changes, now)
    local args = {}

    changes.updated = int(now)

    for field, value in pairs(changes) do
        h[field] = tostring(value)
        args[#args + 1] = field
        args[#args + 1] = h[field]
    end

    h.json = line_document(h)
    redis.call('HSET', key, 'json', h.json, unpack(args))
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


local function event(events_key, now, name, ...)
    redis.call('XADD', events_key, 'MAXLEN', '~', 10000, '*',
               'type', name, 'at', int(now), ...)
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
