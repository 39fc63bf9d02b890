--@again
--@light
--@include lib/shown.lua

-- What happened in a tenant, as it is written down, the latest first: all of it,
-- or what names an operation or its line.

--@key events
--@arg before:int?  -- an entry's id: older ones than it
--@arg since:int?   -- ms: and none before that
--@arg operation?
--@arg line?
--@arg most:int     -- entries
--@arg look:int     -- to be looked at, at the most

--@row cursor entries...:ref -- to go on with, or ""; documents

local n = redis.call('LLEN', events_key)
local last = n - 1

if n > 0 and before and before <= journal_id(events_key, -1) then
    last = journal_after(events_key, n, before - 1) - 1
end


local of_operation = operation and '"operation":' .. js(operation)
local of_line = line and '"line":' .. js(line)


local function named(text)
    return not of_operation
           or string.find(text, of_operation, 1, true)
           or (of_line and string.find(text, of_line, 1, true))
end


-- "at" stands there where it is not the id
local function document(text)
    local id, name, rest = string.match(text, '^{"id":(%d+),"type":("[^"]*")(.*)}$')

    if not id then
        return nil
    end

    local at, more = string.match(rest, '^,"at":(%d+)(.*)$')

    return '{"id":' .. id .. ',"type":' .. name .. ',"at":'
           .. js(iso8601(at or id)) .. (more or rest) .. '}'
end


local reply = { '' }
local looked, over = 0, false

while last >= 0 and not over do
    local first = math.max(0, last - 99)
    local page = redis.call('LRANGE', events_key, first, last)

    for i = #page, 1, -1 do
        local id = event_id(page[i])

        if since and id < since then
            over = true
            break
        end

        if #reply > most or looked >= look then
            reply[1] = int(id + 1)
            over = true
            break
        end

        looked = looked + 1

        if named(page[i]) then
            reply[#reply + 1] = document(page[i])
        end
    end

    last = first - 1
end

return reply
