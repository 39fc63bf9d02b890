--@again
--@light
--@include lib/journal.lua

-- What clients are told of a tenant's journal, ready to send: what follows an
-- entry, some at a time.  They are not told of operations, nor of what billing
-- calls things.

--@key events
--@arg after:int?   -- an entry's id; none: what is not there yet
--@arg line?        -- of this one alone
--@arg most:int     -- to look at

--@reply gone
-- what follows it is not kept any more, or it is an entry of another database
--@reply page position:int more:int texts...:ref
-- the last one that was looked at; 1: there are others

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
    ['workspace.subscription'] = { 'from', 'to', 'plan' }
}


local function shown(id, text)
    local ok, entry = pcall(cjson.decode, text)
    local fields = ok and SHOWN[entry.type]

    if not fields or (line and entry.line ~= line)
       or (fields[1] == 'line' and not entry.line)
    then
        return nil
    end

    local doc = { '{"type":' .. js(entry.type)
                  .. ',"at":' .. js(iso8601(entry.at or id)) }

    for _, field in ipairs(fields) do
        doc[#doc + 1] = js(field) .. ':' .. js_or_null(entry[field])
    end

    return 'id: ' .. int(id) .. '\nevent: ' .. entry.type .. '\ndata: '
           .. table.concat(doc, ',') .. '}\n\n'
end


local function id_at(i)
    return event_id(redis.call('LINDEX', events_key, i))
end


local now = now_ms()
local n = redis.call('LLEN', events_key)
local last = n > 0 and id_at(-1)

if not after then
    return { 'page', int(last or now - 1), 0 }
end

-- Where there are as many as are kept, others may have been there before the
-- first; else only such that are too old were dropped.
local dropped = after < now - EVENTS_AGE

if not last then
    return dropped and { 'gone' } or { 'page', int(after), 0 }
end

if after > last
   or (after < id_at(0) and (dropped or n >= EVENTS_MOST))
then
    return { 'gone' }
end

if after == last then
    return { 'page', int(after), 0 }
end

-- the first that is greater: most often one of the last
local first, step = n - 1, 1
local before = first - step

while before >= 0 and id_at(before) > after do
    first = before
    step = step * 2
    before = first - step
end

before = math.max(before, -1)

while first - before > 1 do
    local middle = math.floor((first + before) / 2)

    if id_at(middle) > after then
        first = middle
    else
        before = middle
    end
end

local reply = { 'page', '', first + most < n and 1 or 0 }

for _, text in ipairs(redis.call('LRANGE', events_key, first,
                                 first + most - 1))
do
    local id = event_id(text)

    reply[2] = int(id)
    reply[#reply + 1] = shown(id, text)
end

return reply
