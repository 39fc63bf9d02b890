--@include lib/time.lua
--@include lib/json.lua
--@include lib/waited.lua

-- What happened in a tenant, oldest first: a list, each entry a JSON document
-- with a number that grows, "id", and its "type".  The number is the instant
-- (ms), or more, where that was taken or the clock was set back: then "at" is
-- the instant.  Where the tenant has webhooks, what its line is told of has a
-- "sequence", too.  What is empty is not there.  The list is bounded by length and
-- by age: all of it goes at the age of its last entry, also where its tenant was
-- deleted before.

local EVENTS_MOST = 10000
local EVENTS_AGE = 90 * 86400000


local function event_id(text)
    return tonumber(string.match(text or '', '^{"id":(%d+)')) or 0
end


-- of field, value, …
local function event_text(id, now, name, ...)
    local doc = { '{"id":', int(id), ',"type":', js(name) }

    if id ~= now then
        doc[#doc + 1] = ',"at":' .. int(now)
    end

    for i = 1, select('#', ...), 2 do
        local field, value = select(i, ...)

        if value and value ~= '' then
            doc[#doc + 1] = ',' .. js(field) .. ':' .. js(value)
        end
    end

    return table.concat(doc) .. '}'
end


-- its place among what webhooks are told of that line, which may come to them in
-- any order; '' where there are none
local function event_sequence(hooks, name, field, line)
    if not hooks or field ~= 'line' or name == 'line.unsubscribed' then
        return ''
    end

    return redis.call('HINCRBY', (string.gsub(hooks, 'hooks$', 'hook_seq')), line,
                      1)
end


local function event(events_key, now, name, ...)
    local hooks = event_hooks(events_key)
    local sequence = event_sequence(hooks, name, ...)
    local id = math.max(now, event_id(redis.call('LINDEX', events_key, -1)) + 1)
    local n = redis.call('RPUSH', events_key, event_text(id, now, name, 'sequence',
                                                        sequence, ...))

    -- more go than come, until there are none to go
    for _ = 1, 2 do
        if n <= EVENTS_MOST
           and (n == 1 or event_id(redis.call('LINDEX', events_key, 0))
                          >= now - EVENTS_AGE)
        then
            break
        end

        redis.call('LPOP', events_key)
        n = n - 1
    end

    redis.call('PEXPIRE', events_key, EVENTS_AGE)
    event_told(events_key, hooks)
end
