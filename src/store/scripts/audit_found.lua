--@include lib/time.lua
--@include lib/json.lua

-- A disagreement, for the operator's list, with both sides.  The list is
-- bounded: the one that was not seen for longest goes.

--@key audit_found as found
--@key audit_order as order
--@arg kind
--@arg outcome      -- repaired or shown
--@arg tenant
--@arg id
--@arg subscription
--@arg here         -- what Redis says
--@arg there        -- what billing, or the other record, says
--@arg most:int

--@value fresh:int  -- 1 where it is new

local now = now_ms()
local member = outcome .. ' ' .. kind .. ' ' .. tenant .. ' ' .. id
local old = redis.call('HGET', found_key, member)
local first = old and string.match(old, '^(%d+) ') or int(now)

redis.call('HSET', found_key, member, first .. ' {"kind":' .. js(kind)
           .. ',"outcome":' .. js(outcome)
           .. ',"tenant":' .. js_or_null(tenant)
           .. ',"id":' .. js(id)
           .. ',"subscription":' .. js_or_null(subscription)
           .. ',"here":' .. js(here)
           .. ',"there":' .. js(there)
           .. ',"firstSeenAt":' .. js(iso8601(first))
           .. ',"lastSeenAt":' .. js(iso8601(now)) .. '}')
redis.call('ZADD', order_key, int(now), member)

for _, last in ipairs(redis.call('ZRANGE', order_key, 0, -1 - most)) do
    redis.call('ZREM', order_key, last)
    redis.call('HDEL', found_key, last)
end

return old and 0 or 1
