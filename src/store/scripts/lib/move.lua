--@include lib/line.lua

-- The legal moves of a line's status, and the ends that a line may come to
-- besides.  Nothing else, ever.

local MOVES = {
    awaiting_payment = { provisioning = true, canceled = true },
    provisioning     = { active = true, failed = true },
}

-- by the status that the record keeps: the reason, and the field of its instant
local ENDS = {
    provisioning = { subscription_ended = 'lapsed' },
    active       = { subscription_ended = 'lapsed', released = 'released' },
}


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

    if to == 'failed' or to == 'canceled' then
        line_free_place(keys.tenant, h, changes)
        changes.ended = int(now)
    end

    -- what was paid for may have lapsed before it was ready
    if to == 'active' and not filled(h.lapsed) then
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
    if not filled(h.lapsed) then
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
    local field = ENDS[h.status] and ENDS[h.status][reason]

    if not field or filled(h[field]) then
        return false
    end

    local first = not filled(h.ended)
    local changes = { active = '0', [field] = int(now) }

    if first then
        changes.reason = filled(h.lapsed) and 'subscription_ended' or reason
        changes.ended = filled(h.lapsed) and h.lapsed or int(now)
    end

    line_free_place(keys.tenant, h, changes)
    line_save(keys.line, h, changes, now)

    -- a line that lapsed holds its tenant no longer, which may be deleted
    if first and redis.call('EXISTS', keys.tenant) == 1 then
        count_move(keys.tenant, h.status,
                   reason == 'released' and 'released' or 'canceled')
    end

    event(keys.events, now, 'line.' .. field, 'line', h.id, 'from', h.status,
          'to', 'canceled', 'reason', h.reason)

    return true
end
