--@include lib/operation.lua

-- Takes an operation in hand: raises its fence and sets its lease.  The one
-- who holds it already claims it anew under the same fence.

--@key op(id)
--@key tenant
--@arg lease:int        -- ms
--@arg fence:digits     -- held; 0: none
--@arg afresh:flag      -- all is looked at once more

--@reply held          -- anew by its holder, who knows the rest
-- field, value, … of the record, and "payer": the tenant's customer by now
--@reply claimed|done now:int fields...:ref
--@reply busy left:int step                 -- ms
--@reply none

-- What the release before wrote is translated by who takes it, and never while
-- a node of that release holds it, which would not know it any more.
local UNDO = { ['undo:card'] = 'undone', ['undo:assign'] = 'undo:charge',
               ['undo:tell'] = 'undo:charge', ['undo:end'] = 'undo:charge' }

local now = now_ms()
local held = redis.call('HMGET', op_key, 'step', 'fence', 'lease_until')

if not held[1] then
    return { 'none' }
end

local word = 'claimed'
local busy = left(held[3], now, lease)

if held[1] == 'done' then
    word = 'done'

elseif fence ~= '0' and fence == held[2] then
    op_lease(op_key, lease, now)

    if not afresh then
        return { 'held' }
    end

elseif busy > 0 then
    return { 'busy', int(busy), held[1] }

else
    redis.call('HINCRBY', op_key, 'fence', 1)
    op_lease(op_key, lease, now)
end

if UNDO[held[1]] then
    redis.call('HSET', op_key, 'step', UNDO[held[1]])
end

local intent = redis.call('HMGET', op_key, 'intent', 'intent_reason')

if intent[1] then
    op_wish(op_key, 'cancel', intent[2] or '')
    redis.call('HDEL', op_key, 'intent', 'intent_reason')
end

-- what is past cannot be to come: the clock was set back
for _, field in ipairs({ 'begun', 'sent_at', 'absent_at', 'refund_at' }) do
    if tonumber(redis.call('HGET', op_key, field) or 0) > now then
        redis.call('HSET', op_key, field, int(now))
    end
end

-- of invoices that it is done with, or that a purchase is past which is undone
if afresh and redis.call('HDEL', op_key, 'woken', 'dirty') > 0 then
    if held[1] == 'await' then
        redis.call('HDEL', op_key, 'refund_after')

    elseif redis.call('HEXISTS', op_key, 'refund_after') == 1
           or held[1] == 'undo:lease' or held[1] == 'undone'
    then
        redis.call('HSET', op_key, 'again', 1)
    end
end

return op_reply(op_key, word, int(now), 'payer',
                redis.call('HGET', tenant_key, 'customer') or '')
