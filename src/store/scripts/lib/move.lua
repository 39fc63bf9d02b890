--@include lib/line.lua
--@include lib/tenant.lua

-- The legal moves of a line's status, and the ends that a line may come to
-- besides (store/moves).  Nothing else, ever.
--@moves


local function may_move(from, to)
    return MOVES[from] ~= nil and MOVES[from][to] == true
end


-- keys: line, tenant, pending, events.  Returns false, and changes nothing,
-- where the move is illegal.  The one place where a line's status changes.
local function line_move(keys, h, to, changes, now)
    local from = h.status

    if not may_move(from, to) then
        return false
    end

    changes = changes or {}
    changes.status = to

    local gone = filled(h.lapsed) and not line_unclear(h)

    if to == 'failed' or to == 'canceled' then
        line_free_place(keys.tenant, h, changes)
        changes.ended = int(now)

        -- it ends by this, whatever became of its add-on
        if not gone then
            changes.lapsed = ''
        end
    end

    -- what was paid for may have lapsed before it was ready
    if to == 'active' and not gone then
        changes.active = '1'
    end

    if from == 'awaiting_payment' then
        changes.required = '0'

        if redis.call('GET', keys.pending) == h.id then
            redis.call('DEL', keys.pending)
        end
    end

    line_save(keys.line, h, changes, now)

    -- one whose add-on ended has been canceled before, to all who count
    if not gone then
        count_move(keys.tenant, from, to)
    end

    event(keys.events, now, 'line.' .. to, 'line', h.id, 'from', from,
          'to', to, 'reason', changes.reason or '')

    return true
end


-- A line ends for good: its status keeps its history, and clients are told that
-- it is canceled, and why.  keys: line, tenant, events.  Returns false, and
-- changes nothing, where that is illegal.  What its billing has ended can still
-- be released, for its number's sake; the first reason stays.
local function line_end(keys, h, reason, now)
    local known = ENDS[h.status] and ENDS[h.status][reason]
    local field = known and known.field
    local unclear = line_unclear(h)

    if not known or (filled(h[field]) and not unclear) then
        return false
    end

    local first = not filled(h.ended)
    local changes = { active = '0' }

    -- of before there was "ended"
    if unclear then
        changes.lapsed = ''
    end

    changes[field] = (field == 'lapsed' and unclear) and h.lapsed or int(now)

    if first then
        changes.reason = filled(h.lapsed) and not unclear
                         and 'subscription_ended' or reason
        changes.ended = changes[field]
    end

    line_free_place(keys.tenant, h, changes)
    line_save(keys.line, h, changes, now)

    -- a line that lapsed holds its tenant no longer, which may be deleted
    if first and redis.call('EXISTS', keys.tenant) == 1 then
        count_move(keys.tenant, h.status, known.to)
    end

    event(keys.events, now, 'line.' .. field, 'line', h.id, 'from', h.status,
          'to', 'canceled', 'reason', h.reason)

    return true
end


-- A line that lapsed, its add-on did not: it takes its place again, unless its
-- tenant is gone.
local function line_resume(tenant_key, h, changes)
    if not filled(h.lapsed) then
        return
    end

    changes.lapsed = ''
    changes.active = h.status == 'active' and '1' or '0'

    if not tenant_there(tenant_key) then
        return
    end

    changes.place = string.sub(h.tenant, 1, 2) == 'a:' and 'account' or 'paid'
    redis.call('HINCRBY', tenant_key,
               changes.place == 'account' and 'account_lines'
               or h.channel .. '_paid', 1)
end
