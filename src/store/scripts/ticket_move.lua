--@include lib/tenant.lua
--@include lib/ticket.lua

-- OPEN -> FULFILLED | CANCELLED, and nothing else.

--@key ticket(id)
--@key events
--@key tenant
--@key tickets_open
--@arg status
--@arg number?
--@arg not_after:int? -- ms: then its number may be another's
--@arg most:int       -- ms: which is no more than that away
--@arg looks?         -- as they were before it had a lease

--@reply moved|same document?
--@reply illegal status?
--@reply unknown|late

local h = hash(ticket_key)

-- a deleted tenant's tickets hold no number any more
if not h or not tenant_there(tenant_key) then
    return { 'unknown' }
end

if h.status == status and (not number or h.number == number) then
    return { 'same', h.json }
end

if h.status ~= 'OPEN' then
    return { 'illegal', h.status }
end

local now = now_ms()

-- or somebody has seen it open, and takes that number back: by a clock that was
-- set back, or jumps, sooner than it seems
if not_after
   and (left(not_after, now, most) == 0 or (h.looks or '') ~= (looks or ''))
then
    return { 'late' }
end

h.status = status

if status == 'FULFILLED' then
    h.number = number or ''
    h.fulfilled = int(now)
end

ticket_save(ticket_key, h)
redis.call('ZREM', tickets_open_key, h.id)
event(events_key, now, 'ticket.' .. string.lower(status), 'ticket', h.id)

return { 'moved', h.json }
