-- What becomes of a line, and what is written into a tenant's journal, is told to
-- whoever waits for it, on whichever node (src/events/), on the one channel that
-- all nodes hear.  Only where somebody waits in that tenant: nearly always nobody
-- does, and that costs a look at one key.  So does whether it has webhooks, whose
-- events are told to who delivers them (src/deliver/).

local CHANNEL = 'lines:revoked'


-- what was written stands, whether or not it can be told
local function waited_tell(tenant, text)
    if redis.call('EXISTS', 'lines:{' .. tenant .. '}:waited') == 1 then
        redis.pcall('PUBLISH', CHANNEL, text)
    end
end


-- key: the line's, or its operation's, which has the same id
local function line_told(key)
    local tenant, id = string.match(key, '^lines:{(.*)}:%a+:([^:]*)$')

    if tenant then
        waited_tell(tenant, 'line ' .. tenant .. ' ' .. id)
    end
end


-- key: the journal's; its tenant's webhooks, where there are any
local function event_hooks(key)
    local hooks, n = string.gsub(key, '^(lines:{.*}:)journal$', '%1hooks')

    return n == 1 and redis.call('EXISTS', hooks) == 1 and hooks or nil
end


local function event_told(key, hooks)
    local tenant = string.match(key, '^lines:{(.*)}:')

    if tenant then
        waited_tell(tenant, 'event ' .. tenant)
    end

    if hooks then
        redis.pcall('PUBLISH', CHANNEL, 'hooks ' .. tenant)
    end
end
