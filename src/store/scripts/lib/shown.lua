--@include lib/journal.lua

-- Which entries of a tenant's journal clients are told, be it by a stream or
-- by a webhook, and in which words.  They are not told of operations, nor of
-- what billing calls things.

local LINE = { 'line', 'from', 'to', 'reason' }
local TICKET = { 'ticket' }

local SHOWN = {
    ['line.awaiting_payment'] = LINE,
    ['line.provisioning'] = LINE,
    ['line.active'] = LINE,
    ['line.failed'] = LINE,
    ['line.canceled'] = LINE,
    ['line.lapsed'] = LINE,
    ['line.released'] = LINE,
    ['line.suspended'] = LINE,
    ['line.resumed'] = LINE,
    ['line.refunded'] = { 'line' },
    ['ticket.open'] = TICKET,
    ['ticket.fulfilled'] = TICKET,
    ['ticket.cancelled'] = TICKET,
    ['workspace.subscription'] = { 'from', 'to', 'plan' },
    ['webhook.paused'] = { 'webhook', 'reason' }
}


-- its type, its instant and what else it says, as members of JSON, and all
-- that it holds; nothing of what nobody is told
local function entry_shown(id, text)
    local ok, entry = pcall(cjson.decode, text)
    local fields = ok and SHOWN[entry.type]

    if not fields or (fields[1] == 'line' and not entry.line) then
        return nil
    end

    local doc = ''

    for _, field in ipairs(fields) do
        doc = doc .. ',' .. js(field) .. ':' .. js_or_null(entry[field])
    end

    return entry.type, js(iso8601(entry.at or id)), doc, entry
end


local function journal_id(events_key, i)
    return event_id(redis.call('LINDEX', events_key, i))
end


-- where the first of its n entries is whose id is greater than that, which is
-- less than that of the last: most often one of the last
local function journal_after(events_key, n, after)
    local first, step = n - 1, 1
    local before = first - step

    while before >= 0 and journal_id(events_key, before) > after do
        first = before
        step = step * 2
        before = first - step
    end

    before = math.max(before, -1)

    while first - before > 1 do
        local middle = math.floor((first + before) / 2)

        if journal_id(events_key, middle) > after then
            first = middle
        else
            before = middle
        end
    end

    return first
end
