--@include lib/operation.lua
--@include lib/line.lua

-- Billing has an object of ours that no line holds, or a line that failed or has
-- ended: it is canceled, and goes back.  A record that is gone is not made up
-- again.  Of a tenant that was deleted only what was paid since goes back, and
-- what had to before; of a line that has ended what was paid since.

--@key op(id)
--@key ops
--@key line(line)
--@key op(line) as named -- the one that the object names
--@key deleted
--@key owed(subscription)
--@key owed(line) as unlooked -- of whoever the object names
--@key tenant
--@arg id
--@arg subscription
--@arg invoice
--@arg attempt:digits?   -- that the object names

--@reply begun|same
--@reply held            -- a line holds it, or may yet

local now = now_ms()

-- as line_billed.lua
local h = redis.call('HEXISTS', tenant_key, 'deleting') == 0 and line_hash(line_key)
          or {}
local failed = h.subscription == subscription and line_refunds(h)
local ended = h.subscription == subscription and h.status ~= 'canceled'
              and not failed and line_left(h)

if op_goes_on(op_key) then
    if failed then
        op_refund(op_key)
    end

    return 'same'
end

local op = redis.call('HMGET', named_key, 'subscription', 'step', 'attempt')

-- still under way, and not of an older attempt: it will find out itself, but
-- for a line that has failed or ended, or is included by now, or a charge that
-- was given up: it gives nothing back
if not failed and not ended
   and op[2] and op[2] ~= 'done' and not op_uncharged(op[2], op[1])
   and (op[1] == subscription or not op[1] or op[1] == '')
   and (not attempt or not op[3]
        or tonumber(attempt) >= tonumber(op[3]))
then
    return 'held'
end

if not failed and not ended and h.subscription == subscription
   and h.status ~= 'canceled'
then
    return 'held'
end

-- whether it went back is to be seen
if failed and h.payment == 'refunded' then
    line_save(line_key, h, { payment = 'paid' }, now)
end

local at, billed = string.match(redis.call('GET', unlooked_key) or '',
                                '^(%d+) ?(.*)$')

-- what the line was not billed by in the end was never kept (line_drop.lua)
if at and billed ~= '' and billed ~= subscription then
    at = 0
end

-- a line that was there has ended: what it was bought with is kept (owed)
local due, kept = string.match(redis.call('GET', owed_key) or '',
                               '^(%d+) ?(.*)$')

-- as its release has found, by billing's clock
if kept and kept ~= '' then
    ended = ended and tonumber(due)
end

local since = failed and 0 or ended or tonumber(due) or tonumber(at)
              or math.floor((tonumber(redis.call('GET', deleted_key)) or 0)
                            / 1000)

op_give_back(op_key, ops_key, id,
             failed and 'refund' or ended and 'release' or 'orphan', since, now,
             'line', (failed or ended) and h.id or '',
             'subscription', subscription, 'invoice', ended and '' or invoice,
             'kept', failed and '' or kept or '',
             'skew', since == tonumber(due) and '0' or '')

return 'begun'
