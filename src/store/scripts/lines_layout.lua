--@light
--@include lib/line.lua
--@include lib/unpaid.lua

-- Lines of a tenant that are of the layout before get this one, some at a time,
-- oldest first.  What a node of the release before makes afterwards keeps its
-- own: whoever reads a line knows both.  What happened before, a stream, goes to
-- the front of the journal.

--@key tenant
--@key lines
--@key unpaid
--@key events
--@key events_before
--@arg most:int -- how many to look at

--@value left:int -- 1: there are others

local at = redis.call('HMGET', tenant_key, 'layout', 'deleting', 'plan')

if at[1] == '2' or at[2] or not at[3] then
    return 0
end

-- as "@N", so many of them have it
local from = tonumber(string.match(at[1] or '', '^@(%d+)$')) or 0
local ids = redis.call('ZRANGE', lines_key, int(from), int(from + most - 1))

unpaid_tell(tenant_key, unpaid_key)

-- the latest of them, whose ids are less than what follows them
local EVENTS = 1000

local function take_events()
    local old = redis.call('XREVRANGE', events_before_key, '+', '-', 'COUNT',
                           EVENTS)

    if #old == 0 then
        return
    end

    local since = redis.call('LRANGE', events_key, 0, -1)
    local following = #since > 0 and event_id(since[1]) or now_ms() + 1
    local texts = {}

    for i, entry in ipairs(old) do
        local fields, rest = {}, {}

        for j = 1, #entry[2], 2 do
            local field, value = entry[2][j], entry[2][j + 1]

            if field == 'type' or field == 'at' then
                fields[field] = value
            else
                rest[#rest + 1] = field
                rest[#rest + 1] = value
            end
        end

        local at = tonumber(fields.at) or 0

        following = math.min(at, following - 1)
        texts[#old + 1 - i] = event_text(following, at, fields.type or '',
                                         unpack(rest))
    end

    redis.call('UNLINK', events_key, events_before_key)

    for _, list in ipairs({ texts, since }) do
        for _, text in ipairs(list) do
            redis.call('RPUSH', events_key, text)
        end
    end

    redis.call('PEXPIRE', events_key, EVENTS_AGE)
end


take_events()

for _, id in ipairs(ids) do
    line_convert(string.gsub(lines_key, 'lines$', 'line:') .. id)
end

redis.call('HSET', tenant_key, 'layout',
           #ids == most and '@' .. int(from + most) or '2')

return #ids == most and 1 or 0
