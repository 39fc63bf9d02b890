--@include lib/operation.lua
--@include lib/line.lua
--@include lib/tenant.lua
--@include lib/unpaid.lua

-- What was read of a base plan, written if nothing happened meanwhile.  Where
-- it has ended, the line that awaits payment is to be canceled; where it is
-- another, that may be in it by now.

--@key op(id)
--@key ops
--@key tenant
--@key pending
--@key events
--@key line(line)? -- that is pending
--@key op(line)? as request
--@key unpaid
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg state         -- active, past_due or canceled; "" leaves it
--@arg plan          -- "" leaves it
--@arg line          -- that is pending, or ""

--@reply ok pending  -- line that is to be looked at, or ""
--@reply woken     -- it is to be read once more
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

if op_woken(op_key) then
    return { 'woken' }
end

-- nor is it what the workspace has, where its customer is another by now
if state ~= '' and ((redis.call('GET', pending_key) or '') ~= line
                    or redis.call('HGET', tenant_key, 'customer')
                       ~= redis.call('HGET', op_key, 'customer'))
then
    return { 'woken' }
end

local now = now_ms()
local pending = ''
local changed = false

if state ~= '' and tenant_there(tenant_key) then
    local old = redis.call('HMGET', tenant_key, 'subscription', 'plan')

    redis.call('HSET', tenant_key, 'subscription', state, 'plan_by', 'billing')

    if plan ~= '' then
        redis.call('HSET', tenant_key, 'plan', plan)
    end

    unpaid_tell(tenant_key, unpaid_key)
    changed = old[1] ~= state or (plan ~= '' and old[2] ~= plan)

    if changed then
        event(events_key, now, 'workspace.subscription', 'from', old[1] or '',
              'to', state, 'plan', plan)
    end

-- billing does not tell, and a person said that it is as it is here: theirs
elseif state == ''
       and redis.call('HGET', op_key, 'resolved_step') == step
       and redis.call('HGET', tenant_key, 'plan_by') == 'billing'
       and redis.call('HGET', tenant_key, 'customer')
           == redis.call('HGET', op_key, 'customer')
then
    redis.call('HSET', tenant_key, 'plan_by', int(now))
end

if line ~= '' and (changed or state == 'canceled') then
    local h = line_hash(line_key)
    local step = redis.call('HGET', request_key, 'step')

    if h and h.status == 'awaiting_payment' and step and step ~= 'done' then
        pending = line

        if state == 'canceled' then
            op_wish(request_key, 'cancel', 'subscription_ended')
        else
            op_wake(request_key)
        end
    end
end

op_end(op_key, ops_key, id, nil, now)

return { 'ok', pending }
