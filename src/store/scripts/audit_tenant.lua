--@again
--@light
--@include lib/time.lua

-- What a tenant counts, and for whom it waits: to be compared with what its
-- lines hold, which were read page by page.  They stood still if its version is
-- the same as before them: it changes with each move of a line.  Reads only.

--@key tenant
--@key pending
--@key lines
--@key deleted
--@arg since:int  -- ms: a plan that billing has not listed since is to be read
--@arg version?   -- before the lines were read; none: now they are
--@list places    -- audit_lines.lua has made them

--@row version unlisted gone findings...
-- nothing where there is no such tenant, or it is being deleted, but that it is
-- gone: 1, it was deleted; unlisted: 1, a workspace's plan is to be read, before
-- its lines are; findings: kind, outcome, id, here, there, …

local NAMES = { 'phone_included', 'phone_paid', 'email_included', 'email_paid',
                'account_lines' }

-- further than a mark can be (LINES_AUDIT_DAY of background/audit_billing.h): a
-- clock that has been set back wrote it
local AHEAD = 86400000

local sum, h = 0, {}
local list = redis.call('HGETALL', tenant_key)

for i = 1, #list, 2 do
    h[list[i]] = list[i + 1]

    if string.sub(list[i], 1, 6) == 'moves:' then
        sum = sum + tonumber(list[i + 1])
    end
end

if #list == 0 or h.deleting then
    return { '', '', #list == 0 and redis.call('EXISTS', deleted_key) == 1
                     and '1' or '' }
end

local pending = redis.call('GET', pending_key) or ''
local audited = tonumber(h.audited) or 0
local lives = h.subscription == 'active' or h.subscription == 'past_due'
local unlisted = not version and lives and (h.customer or '') ~= ''
                 and string.find(tenant_key, '{w:', 1, true)
                 and (audited < since or audited > now_ms() + AHEAD)
local reply = { sum .. ' ' .. redis.call('ZCARD', lines_key) .. ' ' .. pending,
                unlisted and '1' or '', '' }


local function found(kind, id, here, there)
    for _, item in ipairs({ kind, 'shown', id, here, there }) do
        reply[#reply + 1] = item
    end
end


if version == reply[1] then
    for i, name in ipairs(NAMES) do
        local counts = tonumber(h[name] or 0) or 0
        local held = tonumber(places[i] or 0)

        if counts ~= held then
            found('counter', name, 'counts ' .. counts, 'lines hold ' .. held)
        end
    end

    if pending ~= '' and places[6] ~= pending then
        found('pending', pending, 'its workspace waits for it',
              'it does not await a payment')
    end
end

return reply
