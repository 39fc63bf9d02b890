--@light
--@include lib/time.lua
--@include lib/json.lua

-- Something disagrees.  Who sees it for the first time doubts it: it counts
-- when it is seen once more, and goes to the operator's list, with both sides.
-- The list is bounded: what was not seen for longest goes.  So are doubts: a step
-- that begins takes those of the steps before away, where it may need their
-- room; what a step has no room for is found by another pass.

--@key audit_found as found
--@key audit_order as order
--@key audit_doubts as doubts
--@arg kind
--@arg outcome      -- repaired or shown
--@arg tenant
--@arg id
--@arg subscription
--@arg here         -- what Redis says
--@arg there        -- what billing says, or another record
--@arg most:int
--@arg sure:flag    -- once is enough
--@arg first:flag   -- that a step finds: what was doubted before is done with

--@reply doubt|known|fresh -- seen once; before; listed now

local now = now_ms()
local member = outcome .. ' ' .. kind .. ' ' .. tenant .. ' ' .. id
               .. ' ' .. (subscription ~= '' and subscription or here)
local sides = here .. '\n' .. there .. '\n' .. subscription

if not sure and redis.call('HGET', doubts_key, member) ~= sides then
    local doubts = redis.call('HLEN', doubts_key)

    if first and doubts >= 1000 then
        redis.call('UNLINK', doubts_key)
        doubts = 0
    end

    if doubts < 2000 then
        redis.call('HSET', doubts_key, member, sides)
    end

    return { 'doubt' }
end

redis.call('HDEL', doubts_key, member)

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

for _, last in ipairs(redis.call('ZRANGE', order_key, 0, int(-1 - most))) do
    redis.call('ZREM', order_key, last)
    redis.call('HDEL', found_key, last)
end

return { old and 'known' or 'fresh' }
