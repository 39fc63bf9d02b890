--@again
--@light
--@include lib/time.lua
--@include lib/json.lua

-- What the auditor found, the newest first, and where it is.  Reads only.

--@key audit
--@key audit_found
--@key audit_order

--@row running:int began ended asked:int found...:ref
-- began, ended: JSON; found: a document each

local h = redis.call('HMGET', audit_key, 'phase', 'began', 'ended', 'asked')

local function instant(ms)
    return (tonumber(ms or '') or 0) > 0 and js(iso8601(ms)) or 'null'
end

local reply = { h[1] and h[1] ~= '' and '1' or '0', instant(h[2]),
                instant(h[3]), h[4] and '1' or '0' }

local members = redis.call('ZRANGE', audit_order_key, 0, -1)

for i = #members, 1, -1 do
    local found = redis.call('HGET', audit_found_key, members[i])

    if found then
        reply[#reply + 1] = string.match(found, '^%d+ (.*)$')
    end
end

return reply
