--@include lib/hook.lua

-- What a tenant's webhooks are to be told now: it is this worker's until its
-- lease is over, and then somebody else's, so that it is told at least
-- once.  What is new comes before what has failed: that holds up nothing.  What
-- waits to be tried again is bounded; beyond that what is new stays where it
-- is, in the journal.

--@key tenant
--@key hooks
--@key events
--@arg fast:int   -- calls that the worker has room for,
--@arg slow:int   -- and to those that did not answer in time lately
--@arg each:int   -- at once, to one webhook
--@arg lease:int  -- ms
--@arg most:int   -- that may wait to be tried again
--@arg longest:int -- ms: nothing waits longer for its next try
--@arg idle:int   -- ms
--@arg seal       -- what begins a secret that need not be sealed anew

--@row next:int items...
-- ms until there may be more, no longer than idle; of each: its webhook, event
-- (empty: its secrets are to be sealed anew) and tries, url, secret, the one
-- before, body, and whether it did not answer in time lately

local LOOKS = 200         -- at entries of the journal, for one webhook
local AGAIN = 1000        -- ms until there may be room

local ids = redis.call('ZRANGE', hooks_key, 0, -1)

if #ids == 0 or not tenant_there(tenant_key) then
    return {}
end

local now = now_ms()
local n = redis.call('LLEN', events_key)
local last = n > 0 and journal_id(events_key, -1)
local reply = { idle }


local function soon(ms)
    reply[1] = math.max(math.min(reply[1], ms), 1)
end


-- nothing, where this is none of its types
local function body_of(h, id, text)
    local name, at, fields, entry = entry_shown(id, text)

    if not name
       or (h.types ~= '*'
           and not string.find(' ' .. h.types .. ' ', ' ' .. name .. ' ', 1,
                               true))
    then
        return nil
    end

    return '{"type":' .. js(name) .. ',"timestamp":' .. at
           .. ',"data":{"event":' .. js(int(id)) .. ',"sequence":'
           .. (entry.sequence or 'null') .. fields .. '}}'
end


local function late(h)
    return (tonumber(h.slow) or 0) > 0
end


local function item(...)
    for _, text in ipairs({ ... }) do
        reply[#reply + 1] = text
    end
end


-- that counts yet
local function former(h)
    return (tonumber(h.before_until) or 0) > now and h.before or ''
end


local function is_sealed(secret)
    return secret == '' or string.sub(secret, 1, #seal) == seal
end


local function tell(id, keys, h, event, tries, body)
    redis.call('ZADD', keys.busy, int(now + lease), int(event) .. ' ' .. tries)
    item(id, int(event), tostring(tries), h.url, h.secret, former(h), body,
         late(h) and '1' or '')
end


local function text_of(event)
    if not last or event > last then
        return nil
    end

    local text = redis.call('LINDEX', events_key,
                            journal_after(events_key, n, event - 1))

    return event_id(text) == event and text or nil
end


-- whoever was to tell it is gone; or the clock was set back
local function leases(keys)
    local over = redis.call('ZRANGEBYSCORE', keys.busy, '-inf', int(now))

    for _, member in ipairs(redis.call('ZRANGEBYSCORE', keys.busy,
                                       '(' .. int(now + lease), '+inf'))
    do
        over[#over + 1] = member
    end

    for _, member in ipairs(over) do
        local event, tries = hook_member(member)

        redis.call('ZREM', keys.busy, member)
        redis.call('ZADD', keys.due, int(now), int(event) .. ' ' .. tries + 1)
    end

    for _, member in ipairs(redis.call('ZRANGEBYSCORE', keys.due,
                                       '(' .. int(now + longest), '+inf'))
    do
        redis.call('ZADD', keys.due, int(now), member)
    end
end


-- how much of the room is left
local function what_is_new(id, keys, h, room)
    local cursor = tonumber(h.cursor)
    local held = redis.call('ZCARD', keys.due) + redis.call('ZCARD', keys.busy)
    local full

    if not last or cursor == last then
        return room
    end

    -- nothing is read that cannot be told
    if room <= 0 or held >= most then
        soon(AGAIN)
        return room
    end

    -- there is another journal than there was, of a clock that was set back
    if cursor > last then
        cursor = 0
    end

    if n >= EVENTS_MOST and cursor < journal_id(events_key, 0) then
        hook_note(keys.log, now, 'event', int(cursor), 'outcome', 'missed')
    end

    local first = journal_after(events_key, n, cursor)
    local looks = h.types == '*' and math.min(LOOKS, 2 * room) or LOOKS

    for _, text in ipairs(redis.call('LRANGE', events_key, first,
                                     first + looks - 1))
    do
        local event = event_id(text)
        local body = body_of(h, event, text)

        if body then
            full = room <= 0 or held >= most

            if full then
                break
            end

            tell(id, keys, h, event, 0, body)
            room = room - 1
            held = held + 1
        end

        cursor = event
    end

    redis.call('HSET', keys.hook, 'cursor', int(cursor))

    if cursor < last then
        soon(full and AGAIN or 1)
    end

    return room
end


local function what_failed(id, keys, h, room)
    local due = room > 0 and redis.call('ZRANGEBYSCORE', keys.due, '-inf',
                                        int(now), 'LIMIT', 0, room) or {}

    for _, member in ipairs(due) do
        local event, tries = hook_member(member)
        local text = text_of(event)
        local body = text and body_of(h, event, text)

        redis.call('ZREM', keys.due, member)

        if body then
            tell(id, keys, h, event, tries, body)
            room = room - 1
        else
            hook_note(keys.log, now, 'event', int(event), 'outcome', 'dropped')
        end
    end

    for _, key in ipairs({ keys.due, keys.busy }) do
        local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')

        if #first > 0 then
            soon(math.max(tonumber(first[2]) - now, AGAIN))
        end
    end

    return room
end


local hooks = {}

for _, id in ipairs(ids) do
    local keys = hook_keys(hooks_key, id)
    local h = hash(keys.hook)
    local told = h and tonumber(h.told) or 0

    -- by a clock that was set back since
    if told > now then
        told = 0
    end

    hooks[#hooks + 1] = { id = id, keys = keys, h = h, told = told,
                          at = #hooks }
end

-- who was told longest ago comes first: what it leaves is for the others
table.sort(hooks, function (one, other)
    if one.told == other.told then
        return one.at < other.at
    end

    return one.told < other.told
end)

for _, hook in ipairs(hooks) do
    local id, keys, h = hook.id, hook.keys, hook.h

    if h and not (is_sealed(h.secret) and is_sealed(former(h))) then
        item(id, '', '0', h.url, h.secret, former(h), '', '')
    end

    if h and h.status == 'active' then
        leases(keys)

        local busy = redis.call('ZCARD', keys.busy)
        local room = late(h) and math.min(1 - busy, slow)
                     or math.min(each - busy, fast)
        local left = what_failed(id, keys, h,
                                 what_is_new(id, keys, h, math.max(room, 0)))
        local taken = math.max(room, 0) - left

        if taken > 0 then
            redis.call('HSET', keys.hook, 'told', int(now))
        end

        if late(h) then
            slow = slow - taken
        else
            fast = fast - taken
        end
    end
end

reply[1] = int(reply[1])

return reply
