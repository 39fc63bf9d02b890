--@include lib/hook_keys.lua
--@include lib/shown.lua
--@include lib/tenant.lua

-- A tenant's webhooks (src/deliver/).  What one is told is what the journal has
-- behind its cursor; beside it are only those events that are under way
-- (hook_busy) or to be tried again (hook_due), as "EVENT TRIES".

local HOOK_LOG = 100


-- "*", or words with a space between; nothing, and the word, where one is no
-- type
local function hook_types(types)
    for _, name in ipairs(types) do
        if name == '*' then
            return '*'
        end

        if not SHOWN[name] then
            return nil, name
        end
    end

    return table.concat(types, ' ')
end


-- names of its members, by the dialect of who asks
local CAMEL = {
    created = 'createdAt', updated = 'updatedAt', delivered = 'deliveredAt',
    failing = 'failingSince', before_until = 'previousSecretUntil'
}

local SNAKE = {
    created = 'created_at', updated = 'updated_at', delivered = 'delivered_at',
    failing = 'failing_since', before_until = 'previous_secret_until'
}


local function hook_document(hooks, id, snake, now)
    local keys = hook_keys(hooks, id)
    local h = hash(keys.hook)

    if not h then
        return nil
    end

    local names = snake and SNAKE or CAMEL
    local types = {}

    for name in string.gmatch(h.types, '%S+') do
        types[#types + 1] = js(name)
    end

    if (tonumber(h.before_until) or 0) <= now then
        h.before_until = nil
    end

    local doc = {
        '{"id":' .. js(id), '"url":' .. js(h.url),
        '"types":[' .. table.concat(types, ',') .. ']',
        '"status":' .. js(h.status), '"reason":' .. js_or_null(h.reason),
        '"waiting":' .. int(redis.call('ZCARD', keys.due)
                            + redis.call('ZCARD', keys.busy))
    }

    for _, field in ipairs({ 'created', 'updated', 'delivered', 'failing',
                             'before_until' })
    do
        doc[#doc + 1] = js(names[field]) .. ':'
                        .. (h[field] and js(iso8601(h[field])) or 'null')
    end

    return table.concat(doc, ',') .. '}'
end


-- what became of a call, of field, value, …: numbers are written as such
local function hook_note(log, now, ...)
    local doc = { '{"at":' .. js(iso8601(now)) }

    for i = 1, select('#', ...), 2 do
        local field, value = select(i, ...)

        value = type(value) == 'number' and int(value) or js_or_null(value)
        doc[#doc + 1] = js(field) .. ':' .. value
    end

    if redis.call('RPUSH', log, table.concat(doc, ',') .. '}') > HOOK_LOG then
        redis.call('LPOP', log)
    end
end


-- of "EVENT TRIES"
local function hook_member(member)
    local event, tries = string.match(member, '^(%d+) (%d+)$')

    return tonumber(event), tonumber(tries)
end
