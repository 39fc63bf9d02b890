--@include lib/operation.lua
--@include lib/line.lua

-- An event says that an add-on has ended, was suspended or came back: it is to
-- be read.  So it is where somebody met a line that is unclear, but that is no
-- news: whoever reads it already has no reason to read it once more.

--@key op(id)
--@key ops
--@key line(line)
--@arg id
--@arg line
--@arg subscription
--@arg invoice?  -- whose money is in doubt: a bank has taken it back
--@arg news:flag -- an event says so

--@reply begun|same
--@reply none    -- no line holds it, it ended already, or is not to be asked
                 -- for now

local now = now_ms()
local h = line_hash(line_key) or {}

if h.subscription ~= subscription
   or (h.status ~= 'active' and h.status ~= 'provisioning')
   or filled(h.released) or (filled(h.lapsed) and not line_unclear(h))
then
    return 'none'
end

local step, asked = unpack(redis.call('HMGET', op_key, 'step', 'invoice'))
local running = step and step ~= 'done'

if not running then
    redis.call('HDEL', op_key, 'invoice', 'invoices')
end

-- what a bank is said to have taken now is looked for as long as any
if invoice or not running then
    redis.call('HDEL', op_key, 'absent_at')
end

-- one after another: what is in doubt already has not been counted yet
if invoice and running and asked and asked ~= invoice then
    local waiting = redis.call('HGET', op_key, 'invoices') or ''

    if not string.find(' ' .. waiting, ' ' .. invoice .. ' ', 1, true) then
        redis.call('HSET', op_key, 'invoices', waiting .. invoice .. ' ')
    end
elseif invoice then
    redis.call('HSET', op_key, 'invoice', invoice)
end

if running then
    if news then
        op_wake(op_key)
    end

    return 'same'
end

if not news and not line_to_ask(h, now) then
    return 'none'
end

-- one that says the opposite while it is read must not be taken for no news
redis.call('HSET', line_at(line_key), 'reading', id)
op_begin(op_key, ops_key, id, 'lapse', 'read', 0, now, 'line', line,
         'subscription', subscription)

return 'begun'
