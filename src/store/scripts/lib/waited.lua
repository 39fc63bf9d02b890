-- What becomes of a line is told to whoever waits for it, on whichever node
-- (src/events/), on the one channel that all nodes hear.  Only where somebody
-- waits in its tenant: nearly always nobody does, and that costs a look at one
-- key.

local CHANNEL = 'lines:revoked'


-- key: the line's, or its operation's, which has the same id.  What was written
-- stands, whether or not it can be told.
local function line_told(key)
    local tenant, id = string.match(key, '^lines:{(.*)}:%a+:([^:]*)$')

    if tenant
       and redis.call('EXISTS', 'lines:{' .. tenant .. '}:waited') == 1
    then
        redis.pcall('PUBLISH', CHANNEL, 'line ' .. tenant .. ' ' .. id)
    end
end
