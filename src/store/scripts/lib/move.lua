--@include lib/line.lua

-- The legal moves of a line.  Nothing else, ever.

local MOVES = {
    awaiting_payment = { provisioning = true, canceled = true },
    provisioning     = { active = true, failed = true },
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
    end

    -- what was paid for may have lapsed before it was ready
    if to == 'active' and (not h.lapsed or h.lapsed == '') then
        changes.active = '1'
    end

    if from == 'awaiting_payment' then
        changes.required = '0'

        if redis.call('GET', keys.pending) == h.id then
            redis.call('DEL', keys.pending)
        end
    end

    line_save(keys.line, h, changes, now)

    count_move(keys.tenant, from, to)
    event(keys.events, now, 'line.' .. to, 'line', h.id, 'from', from,
          'to', to, 'reason', changes.reason or '')

    return true
end
