--@include lib/time.lua
--@include lib/json.lua
--@include lib/journal.lua

-- A ticket is a hash of fields: id status area created fulfilled number; json
-- is its public document; looks: how often its number was found to be nobody's
-- (inv_fate.lua).

local function ticket_document(h)
    local doc = '{"id":' .. h.id .. ',"type":"PHONE","status":' .. js(h.status)
                .. ',"desiredAreaCode":' .. js_or_null(h.area)
                .. ',"createdAt":' .. js(iso8601(h.created))

    if h.status == 'FULFILLED' then
        doc = doc .. ',"fulfilledNumber":' .. js_or_null(h.number)
              .. ',"fulfilledAt":' .. js(iso8601(h.fulfilled))
    end

    return doc .. '}'
end


local function ticket_save(key, h)
    h.json = ticket_document(h)
    redis.call('HSET', key, 'id', h.id, 'status', h.status, 'area', h.area,
               'created', h.created, 'fulfilled', h.fulfilled or '',
               'number', h.number or '', 'json', h.json)
end
