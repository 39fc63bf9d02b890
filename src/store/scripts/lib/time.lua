-- Redis' clock decides, not the node's: integer Unix milliseconds.

local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end


-- Milliseconds that are left until an instant which was at most `most' away
-- when it was written; 0: it is over.  What is further away than that was
-- written by a clock that has been set back, or was another server's, and says
-- nothing any more: nobody waits for it.
local function left(instant, now, most)
    local ms = (tonumber(instant) or 0) - now

    return ms > 0 and ms <= most and ms or 0
end


-- an integer that Lua would otherwise print as 1.7634e+12
local function int(n)
    return string.format('%.0f', n)
end


-- ISO 8601 UTC with milliseconds (days to civil date, era by era)
local function iso8601(ms)
    ms = tonumber(ms)

    local seconds = math.floor(ms / 1000)
    local z = math.floor(seconds / 86400) + 719468
    local era = math.floor(z / 146097)
    local doe = z - era * 146097
    local yoe = math.floor((doe - math.floor(doe / 1460)
                + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
    local mp = math.floor((5 * doy + 2) / 153)
    local day = doy - math.floor((153 * mp + 2) / 5) + 1
    local month = mp < 10 and mp + 3 or mp - 9
    local year = yoe + era * 400 + (month <= 2 and 1 or 0)
    local rest = seconds % 86400

    return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
                         year, month, day, math.floor(rest / 3600),
                         math.floor(rest % 3600 / 60), rest % 60, ms % 1000)
end
