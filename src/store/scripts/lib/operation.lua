--@include lib/time.lua

-- An operation's record: it begins, goes from step to step, and ends; and the
-- idempotency record of the request that began it.

-- The fence: what was decided upon must still be so.
local function guarded(key, step, attempt, fence)
    local held = redis.call('HMGET', key, 'step', 'attempt', 'fence')

    return held[1] == step and held[2] == attempt and held[3] == fence
end


local function lost(key)
    local held = redis.call('HMGET', key, 'step', 'attempt', 'fence')

    return { 'lost', held[1] or '', held[2] or '', held[3] or '' }
end


-- until when it is held; 0: whoever claims it first
local function op_lease(op, lease, now)
    redis.call('HSET', op, 'lease_until', lease > 0 and int(now + lease) or 0)
end


-- Who begins it with a lease (ms) holds it at once, with the fence that is
-- returned; otherwise (0) whoever claims it first.  One that has ended and
-- begins once more has another fence at once: a write of the one before may be
-- on its way.  The rest: field, value, …
local function op_begin(op, ops, id, kind, step, lease, now, ...)
    -- what was said of the one before is not of this one, by whatever clock
    redis.call('HDEL', op, 'resolved', 'resolved_note', 'resolved_by',
               'resolved_at', 'resolved_step', 'settle_invoice', 'settle_due')
    local next_one = lease > 0 or redis.call('HEXISTS', op, 'fence') == 1
    redis.call('HSET', op, 'kind', kind, 'step', step, 'attempt', 1,
               'begun', int(now), ...)
    op_lease(op, lease, now)
    redis.call('PERSIST', op)
    redis.call('SADD', ops, id)

    return int(redis.call('HINCRBY', op, 'fence', next_one and 1 or 0))
end


-- A purchase that is undone, and has charged nothing, or a line that the plan has
-- come to include: should a charge of it turn up, or what went back of one fail,
-- it will not look at that.
local function op_uncharged(step, subscription)
    return (string.sub(step, 1, 4) == 'undo' or step == 'tell')
           and (subscription or '') == ''
end


-- Somebody has news for it, whatever they are: whoever holds it sees them
-- before it rests, or ends with a step that depends on billing.
-- "dirty" and "intent" are how a node of the release before says so, and hears
-- of it.
local function op_wake(op)
    redis.call('HSET', op, 'woken', 1)
    redis.call('HINCRBY', op, 'dirty', 1)
end


local function op_woken(op)
    local news = redis.call('HMGET', op, 'woken', 'dirty', 'intent')

    return (news[1] or news[2] or news[3]) and true or false
end


-- whether it is under way: then it has news
local function op_goes_on(op)
    local step = redis.call('HGET', op, 'step')

    if not step or step == 'done' then
        return false
    end

    op_wake(op)

    return true
end


-- The same of one that gives back: all is counted anew, invoice by invoice, as
-- there may be news of what it is done with ("again": a claim heard of them).
local function op_recount(op)
    if not op_woken(op) and redis.call('HEXISTS', op, 'again') == 0 then
        return false
    end

    redis.call('HDEL', op, 'again', 'refund_after')

    return true
end


-- What was paid since its line ended is not all that is due by now: a release
-- that is under way gives back all.
local function op_refund(op)
    if redis.call('HGET', op, 'kind') == 'release' then
        redis.call('HSET', op, 'kind', 'refund', 'since', 0)
    end
end


-- One that gives back what was paid for a line, since an instant (s), or ever.
-- It may have begun before: what it wrote down then is done with, but for how
-- often it has given back, as each time has a key of its own.
local function op_give_back(op, ops, id, kind, since, now, ...)
    if op_goes_on(op) then
        if kind == 'refund' then
            op_refund(op)
        end
    else
        redis.call('HDEL', op, 'refund_body', 'refund_after', 'again',
                   'report', 'report_invoice', 'report_due', 'absent_at',
                   'skew', 'ahead')
        op_begin(op, ops, id, kind, 'cancel', 0, now, 'since', int(since or 0),
                 ...)
    end
end


-- What somebody asks for of a line that awaits its payment: the last wish
-- counts, but for a cancel, which stands.
local function op_wish(op, wish, reason)
    if redis.call('HGET', op, 'wish') ~= 'cancel' then
        redis.call('HSET', op, 'wish', wish, 'wish_reason', reason)
    end

    op_wake(op)
end


-- What a person said was given back of an invoice goes to the tenant's ledger,
-- once: of what is due by then, or (nil) as it was said.  Returns it, or "".
local function op_settle(op, settled, due)
    local said = redis.call('HMGET', op, 'settle_invoice', 'settle_due')
    local amount = said[2] or ''

    if due and amount ~= '' and (due == 0 or amount ~= 'all') then
        amount = int(math.min(tonumber(amount) or 0, due))
    end

    redis.call('HDEL', op, 'settle_invoice', 'settle_due')

    if amount == '' or amount == '0' or not said[1] then
        return ''
    end

    if amount == 'all' then
        redis.call('HSET', settled, said[1], 'all')
    elseif redis.call('HGET', settled, said[1]) ~= 'all' then
        redis.call('HINCRBY', settled, said[1], amount)
    end

    redis.call('EXPIRE', settled, 34560000)

    return amount
end


-- All that it costs is to go back, also when its tenant is deleted: see owed.  Of
-- one that never asked for a charge only a failover that lost that could tell
-- otherwise, and no call is sent later than a day: who has no card can begin as
-- many as he likes.
local function op_owes(op, owed)
    local sent = tonumber(redis.call('HGET', op, 'sent_at') or '') or 0

    redis.call('SET', owed, 0, 'EX', sent > 0 and 34560000 or 172800)
end


-- the next step, which is progress: it is not stuck any more
local function op_next(op, step, lease, now, ...)
    redis.call('HSET', op, 'step', step, ...)
    redis.call('HDEL', op, 'stuck', 'stuck_invoice', 'stuck_due', 'tries',
               'after', 'anew', 'told')
    op_lease(op, lease, now)
end


-- what the request that began it is answered with, and each repeat
local function op_answer(op, status, answer)
    redis.call('HSET', op, 'answer_status', status, 'answer', answer)

    return answer
end


-- a reply that ends with all of the record: field, value, …
local function op_reply(op, ...)
    local reply = { ... }

    for _, item in ipairs(redis.call('HGETALL', op)) do
        reply[#reply + 1] = item
    end

    return reply
end


-- The operation ends: it leaves the list of unfinished ones, and the 24 hours
-- of its idempotency record start.  Without one, idem is nil.
local function op_end(op, ops, id, idem, now)
    redis.call('HSET', op, 'step', 'done', 'ended', int(now),
               'lease_until', 0)
    redis.call('HDEL', op, 'wish', 'woken', 'dirty', 'due', 'stuck',
               'stuck_invoice', 'stuck_due', 'tries', 'anew', 'body',
               'settle_invoice', 'settle_due')
    redis.call('SREM', ops, id)
    redis.call('EXPIRE', op, 86400)

    if idem then
        redis.call('EXPIRE', idem, 86400)
    end
end


-- one that was answered as it began: kept for repeats alone
local function op_done(op, idem, kind, now, status, answer, ...)
    redis.call('HSET', op, 'kind', kind, 'step', 'done', 'begun', int(now),
               'ended', int(now), ...)
    op_answer(op, status, answer)
    redis.call('EXPIRE', op, 86400)

    if idem then
        redis.call('EXPIRE', idem, 86400)
    end
end


-- The reply where the key was used before, or nil.  By a former tenant of the
-- name (made: the tenant's, or nil) it was not.
local function idem_used(idem, made)
    local record = redis.call('HMGET', idem, 'operation', 'fingerprint', 'made')

    if (record[3] or '') ~= (made or '') then
        redis.call('DEL', idem)
        return nil
    end

    return record[1] and { 'idempotent', record[1], record[2] }
end


local function idem_use(idem, id, fingerprint, made)
    redis.call('HSET', idem, 'operation', id, 'fingerprint', fingerprint,
               'made', made or '')
end
