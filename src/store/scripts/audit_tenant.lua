--@again
-- What a tenant counts.  version changes with each move of a line, so that who
-- reads lines page by page knows whether they stood still.  Reads only.

--@key tenant
--@key pending
--@key lines

--@row there:int version subscription customer audited:int pending lines:int counts...
-- there: 0 where there is no such tenant, or it is being deleted; counts: by
-- place, as audit_lines.lua has them

local version = 0
local h = {}
local list = redis.call('HGETALL', tenant_key)

for i = 1, #list, 2 do
    h[list[i]] = list[i + 1]

    if string.sub(list[i], 1, 6) == 'moves:' then
        version = version + tonumber(list[i + 1])
    end
end

local lines = redis.call('ZCARD', lines_key)

return { (#list > 0 and not h.deleting) and '1' or '0',
         version .. ' ' .. lines,
         h.subscription or '', h.customer or '', h.audited or '0',
         redis.call('GET', pending_key) or '', string.format('%.0f', lines),
         h.phone_included or '0', h.phone_paid or '0', h.email_included or '0',
         h.email_paid or '0', h.account_lines or '0' }
