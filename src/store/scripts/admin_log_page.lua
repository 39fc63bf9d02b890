--@again
--@light
--@include lib/time.lua
--@include lib/json.lua

-- What operators asked for, the latest first.

--@key admin_log as log
--@arg before?      -- an entry's id: older ones than it
--@arg most:int

--@row cursor entries...:ref -- to go on with, or ""; documents

local page = redis.call('XREVRANGE', log_key, before and '(' .. before or '+',
                        '-', 'COUNT', most + 1)

-- there is another page: this one ends with the last but one
local more = table.remove(page, most + 1)
local reply = { more and page[most][1] or '' }

for _, entry in ipairs(page) do
    local e = {}

    for i = 1, #entry[2], 2 do
        e[entry[2][i]] = entry[2][i + 1]
    end

    reply[#reply + 1] = '{"id":' .. js(entry[1])
        .. ',"at":' .. js(iso8601(string.match(entry[1], '^%d+')))
        .. ',"operator":' .. js(e.operator)
        .. ',"method":' .. js(e.method)
        .. ',"path":' .. js(e.path)
        .. ',"body":' .. js_or_null(e.body)
        .. ',"status":' .. (tonumber(e.status) and int(e.status) or 'null')
        .. ',"address":' .. js(e.address)
        .. ',"request_id":' .. js(e.request) .. '}'
end

return reply
