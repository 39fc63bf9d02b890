--@again
--@light
--@include lib/time.lua

-- The rates of plans: field, value, …, and when they were these.

--@key limits

--@row now:int pairs...:ref

local reply = redis.call('HGETALL', limits_key)

table.insert(reply, 1, now_ms())

return reply
