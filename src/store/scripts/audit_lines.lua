--@again
--@include lib/time.lua

-- A page of a tenant's lines: what places they hold, the numbers of those that
-- have one, and what is wrong with them by themselves.  Reads only.

--@key tenant
--@key pending
--@key window
--@keys line(ids)
--@arg since:int -- ms: a paid line that billing has not shown since then, but
                 -- had to, is to be read
--@arg month:int -- ms that a purchase counts

--@row waits:int places:list numbers:list findings...
-- waits: 1 where the line is among them for which the tenant waits; places: as
-- counts of audit_tenant.lua; numbers: number, line, …; findings: kind, line,
-- subscription, here, there, …

local PLACES = { 'phone_included', 'phone_paid', 'email_included', 'email_paid',
                 'account_lines' }
local now = now_ms()
local account = string.find(tenant_key, '{a:', 1, true)
local pending = redis.call('GET', pending_key)
local held, numbers, findings, waits = {}, {}, {}, '0'


local function found(kind, id, subscription, here, there)
    for _, item in ipairs({ kind, id, subscription, here, there }) do
        findings[#findings + 1] = item
    end
end


for _, key in ipairs(line_keys) do
    local h = {}
    local id = string.match(key, '([^:]*)$')
    local list = redis.call('HMGET', key, 'status', 'channel', 'place',
                            'subscription', 'number', 'lapsed', 'ended',
                            'released', 'created', 'audited')

    for i, name in ipairs({ 'status', 'channel', 'place', 'subscription',
                            'number', 'lapsed', 'ended', 'released', 'created',
                            'audited' })
    do
        h[name] = list[i] or ''
    end

    local over = h.ended ~= '' or h.released ~= '' or h.status == 'failed'
                 or h.status == 'canceled'
    local runs = not over
                 and (h.status == 'active' or h.status == 'provisioning')

    if h.status == '' then
        found('record', id, '', 'listed', 'there is no such line')
    end

    if h.place ~= '' then
        local name = h.place == 'account' and 'account_lines'
                     or h.channel .. '_' .. h.place

        held[name] = (held[name] or 0) + 1
    end

    if h.status == 'awaiting_payment' then
        if pending == id then
            waits = '1'
        else
            found('pending', id, h.subscription, 'awaits its payment',
                  'its workspace waits for ' .. (pending or 'nothing'))
        end
    end

    if runs and h.lapsed == '' and h.place ~= 'included' then
        if h.subscription == '' then
            found('unpaid', id, '', h.status, 'no subscription')

        elseif tonumber(h.audited) == nil or tonumber(h.audited) < since then
            if (tonumber(h.created) or 0) < since then
                found('unpaid', id, h.subscription, h.status, 'not listed')
            end
        end
    end

    if h.number ~= '' and h.released == '' then
        numbers[#numbers + 1] = h.number
        numbers[#numbers + 1] = id
    end

    if account and (tonumber(h.created) or 0) > now - month
       and not redis.call('ZSCORE', window_key, id)
    then
        found('window', id, h.subscription, h.status,
              'the purchase is not in the window')
    end
end

local places = {}

for i, name in ipairs(PLACES) do
    places[i] = string.format('%.0f', held[name] or 0)
end

return { waits, places, numbers, unpack(findings) }
