--@light
--@include lib/time.lua

-- A pass has come to its end.  What it did not see any more is taken from the
-- list; what was repaired is told for a while.

--@key audit
--@key audit_found
--@key audit_order
--@key audit_doubts
--@arg keep:int     -- ms
--@arg began:digits -- which pass: others may have ended it

--@value ended:int

local now = now_ms()
local at = redis.call('HMGET', audit_key, 'began', 'ended')

if at[1] ~= began then
    return tonumber(at[2] or 0)
end

for _, member in ipairs(redis.call('ZRANGE', audit_order_key, 0, -1)) do
    local seen = tonumber(redis.call('ZSCORE', audit_order_key, member))
    local repaired = string.sub(member, 1, 9) == 'repaired '

    -- by a clock that has been set back: seen now, at the latest
    if seen > now then
        redis.call('ZADD', audit_order_key, int(now), member)

    elseif seen < (repaired and now - keep or tonumber(began)) then
        redis.call('ZREM', audit_order_key, member)
        redis.call('HDEL', audit_found_key, member)
    end
end

redis.call('DEL', audit_doubts_key)
redis.call('HSET', audit_key, 'phase', '', 'cursor', '', 'ended', int(now))

return now
