--@include lib/operation.lua
--@include lib/line.lua

-- The attempt is dead, and proven so: await or send -> send with a new one.

--@key op(id)
--@key line(line)
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg lease:int -- ms
--@arg body      -- exact
--@arg key       -- of the new call
--@arg customer  -- of the new call

--@reply ok attempt now
--@reply canceling
--@reply woken -- news of what nobody will look at from then on
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

-- nobody may pay for what is being canceled
if redis.call('HGET', op_key, 'wish') == 'cancel' then
    return { 'canceling' }
end

if op_woken(op_key) then
    return { 'woken' }
end

local now = now_ms()
local following = int(tonumber(attempt) + 1)

op_next(op_key, 'send', lease, now, 'attempt', following, 'body', body,
        'key', key, 'customer', customer, 'sent_at', int(now))
redis.call('HDEL', op_key, 'subscription', 'invoice', 'url', 'absent_at',
           'invoice_status', 'wish', 'moved', 'due', 'refund_after')

line_save(line_key, line_hash(line_key), { subscription = '', invoice = '',
                                      url = '', attempt = following }, now)

return { 'ok', following, int(now) }
