--@again
--@light
--@include lib/shown.lua

-- What clients are told of a tenant's journal, ready to send: what follows an
-- entry, some at a time.

--@key events
--@arg after:int?   -- an entry's id; none: what is not there yet
--@arg line?        -- of this one alone
--@arg most:int     -- to look at

--@reply gone
-- what follows it is not kept any more, or it is an entry of another database
--@reply page position:int more:int texts...:ref
-- the last one that was looked at; 1: there are others

local function shown(id, text)
    -- of those that are another line's most are known without a closer look
    if line and not string.find(text, line, 1, true) then
        return nil
    end

    local name, at, fields, entry = entry_shown(id, text)

    if not name or (line and entry.line ~= line) then
        return nil
    end

    return 'id: ' .. int(id) .. '\nevent: ' .. name .. '\ndata: {"type":'
           .. js(name) .. ',"at":' .. at .. fields .. '}\n\n'
end


local now = now_ms()
local n = redis.call('LLEN', events_key)
local last = n > 0 and journal_id(events_key, -1)

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
   or (after < journal_id(events_key, 0) and (dropped or n >= EVENTS_MOST))
then
    return { 'gone' }
end

if after == last then
    return { 'page', int(after), 0 }
end

local first = journal_after(events_key, n, after)
local reply = { 'page', '', first + most < n and 1 or 0 }

for _, text in ipairs(redis.call('LRANGE', events_key, first,
                                 first + most - 1))
do
    local id = event_id(text)

    reply[2] = int(id)
    reply[#reply + 1] = shown(id, text)
end

return reply
