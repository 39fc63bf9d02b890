--@include lib/operation.lua
--@include lib/line.lua

-- A person says what is true of an operation that is stuck, and why.  Whoever
-- runs it looks once more, and goes by that where it is stuck again.  Of the
-- money of an invoice it says that so much was given back outside of billing:
-- of what billing then shows to be left (op_settle.lua).

--@key op(id)
--@key events
--@key settled
--@arg id
--@arg as   -- settled: nothing more goes back; canceled: nothing comes of it
--@arg by   -- who said it
--@arg note
--@arg lease:int -- ms

--@reply resolved stuck invoice due -- what was due of which invoice, or ""
--@reply same
--@reply again stuck -- the same was said, and it is stuck since
--@reply other stuck as -- what can be said of it
--@reply going step
--@reply busy           -- somebody tries it just now, who has not heard of this
--@reply unknown

local now = now_ms()
local kind, step, stuck, invoice, due, said, why, held, subscription, ahead =
    unpack(redis.call('HMGET', op_key, 'kind', 'step', 'stuck', 'stuck_invoice',
                      'stuck_due', 'resolved', 'resolved_note', 'lease_until',
                      'subscription', 'ahead'))

if not step then
    return { 'unknown' }
end

local same = said == as and why == note

if not filled(stuck) then
    return same and { 'same' } or { 'going', step }
end

if same then
    return { 'again', stuck }
end

local money = filled(invoice) and filled(due)
              and (stuck == 'refund_refused' or stuck == 'refund_failed'
                   or stuck == 'money_unclear')

-- where money goes back, or none ever comes in, there is nothing to cancel
local fits = (step == 'cancel' or step == 'read' or step == 'undo:charge'
              or money) and 'settled' or 'canceled'

if as ~= fits then
    return { 'other', stuck, fits }
end

if left(held, now, lease) > 0 then
    return { 'busy' }
end

redis.call('HSET', op_key, 'resolved', as, 'resolved_note', note,
           'resolved_by', by, 'resolved_at', int(now))

if money then
    redis.call('HDEL', op_key, 'resolved_step')
    redis.call('HSET', op_key, 'settle_invoice', invoice, 'settle_due',
               stuck == 'money_unclear' and 'all' or due)
else
    redis.call('HSET', op_key, 'resolved_step', step)

    -- of money, before, that could not be looked at: it counts as it was said
    op_settle(op_key, settled_key)

    -- whoever counts its invoices later knows of what was paid by now, which
    -- billing's clock tells
    if (step == 'cancel' or step == 'undo:charge')
       and filled(subscription)
    then
        redis.call('HSET', settled_key, subscription,
                   int(math.floor(now / 1000) + (tonumber(ahead) or 0)))
        redis.call('EXPIRE', settled_key, 34560000)
    end
end

redis.call('HDEL', op_key, 'stuck', 'tries')

if step == 'send' or (step == 'await' and as == 'canceled') then
    op_wish(op_key, 'cancel', 'canceled_by_operator')
else
    op_wake(op_key)
end

event(events_key, now, 'operation.resolved', 'operation', id, 'kind', kind,
      'step', step, 'stuck', stuck, 'invoice', invoice or '', 'due', due or '',
      'as', as, 'by', by, 'note', note)

return { 'resolved', stuck, invoice or '', due or '' }
