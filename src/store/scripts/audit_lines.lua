--@again
--@light
--@include lib/time.lua
--@include lib/record.lua

-- A page of a tenant's lines: what places they hold, the numbers of those that
-- have one, and what is wrong with them by themselves.  Or a page of its
-- window, whose every place has a line or an operation; or of its tickets, and
-- their numbers.  Reads only.

--@key tenant
--@key pending
--@key window
--@keys line(ids)
--@keys op(ids)
--@keys ticket(ids)
--@arg list      -- lines, window or tickets: what they are
--@arg since:int -- ms: a paid line that billing has not listed since then, but
                 -- had to, is to be read
--@list sums     -- places of the pages before

--@row places:list numbers:list unlisted:list live:list work:list findings...
-- places: how many of each are held, by the lines so far, and the one that
-- awaits its payment; numbers: number, line or ticket.ID, …; unlisted: line,
-- subscription, since when its money is in doubt, …; live: lines that somebody
-- may ask for by their ids; work: those that the provisioner has to see to;
-- findings: kind, outcome, id, here, there, …

local PLACES = { phone_included = 1, phone_paid = 2, email_included = 3,
                 email_paid = 4, account_lines = 5 }

-- less than a window, which is of whole minutes to those who wait for it
local MONTH = 29 * 86400000

local FIELDS = { 'status', 'channel', 'place', 'subscription', 'number',
                 'lapsed', 'ended', 'released', 'created', 'begun', 'audited',
                 'doubted' }

local now = now_ms()
local account = string.find(tenant_key, '{a:', 1, true)
local pending = redis.call('GET', pending_key) or ''
local places, numbers, unlisted, findings = {}, {}, {}, {}
local live, work = {}, {}

for i = 1, 6 do
    places[i] = sums[i] or (i < 6 and '0' or '')
end


local function push(to, ...)
    for _, item in ipairs({ ... }) do
        to[#to + 1] = item
    end
end


-- what lies ahead was written by a clock that has been set back, and says
-- nothing
local function lately(instant)
    local at = tonumber(instant) or 0

    return at >= since and at <= now
end


local function check(id, h)
    if h.status == '' then
        push(findings, 'record', 'shown', id, 'listed',
             'there is no such line')
        return
    end

    local place = PLACES[h.place == 'account' and 'account_lines'
                         or h.channel .. '_' .. h.place]

    if place then
        places[place] = int(tonumber(places[place]) + 1)
    end

    if h.status == 'awaiting_payment' then
        if pending == id then
            places[6] = id
        else
            push(findings, 'pending', 'shown', id, 'awaits its payment',
                 'its workspace waits for '
                 .. (pending == '' and 'nothing' or pending))
        end
    end

    if (h.status == 'active' or h.status == 'provisioning')
       and h.ended == '' and h.released == '' and h.lapsed == ''
       and h.place ~= 'included'
    then
        if h.subscription == '' then
            push(findings, 'unpaid', 'shown', id, h.status, 'no subscription')

        elseif h.doubted ~= ''
               or not (lately(h.audited) or lately(h.created))
        then
            push(unlisted, id, h.subscription, h.doubted)
        end
    end

    if h.released == '' and h.ended == '' and h.status ~= 'failed'
       and h.status ~= 'canceled'
    then
        push(live, id)

        if h.status == 'provisioning' then
            push(work, id)
        end
    end

    if h.number ~= '' and h.released == '' and h.ended == '' then
        push(numbers, h.number, id)
    end

    -- its place is that of its purchase, which may have begun long before
    local begun = tonumber(h.begun) or 0

    if account and begun > now - MONTH and begun <= tonumber(h.created)
       and not redis.call('ZSCORE', window_key, id)
    then
        push(findings, 'window', 'shown', id, h.status,
             'the purchase is not in the window')
    end
end


for i, key in ipairs(line_keys) do
    local id = string.match(key, '([^:]*)$')

    if list == 'lines' then
        local h = {}

        for n, value in ipairs(redis.call('HMGET', line_at(key), unpack(FIELDS))) do
            h[FIELDS[n]] = value or ''
        end

        check(id, h)

    elseif list == 'tickets' then
        local h = redis.call('HMGET', ticket_keys[i], 'status', 'number')

        if h[1] == 'FULFILLED' and h[2] and h[2] ~= '' then
            push(numbers, h[2], 'ticket.' .. id)
        end

    elseif redis.call('EXISTS', key) == 0
           and redis.call('EXISTS', op_keys[i]) == 0
    then
        push(findings, 'window', 'shown', id, 'a place in the window',
             'neither a line nor an operation')
    end
end

return { places, numbers, unlisted, live, work, unpack(findings) }
