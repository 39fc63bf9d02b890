--@again
--@include lib/time.lua

-- What is due, the longest first.

--@key due(shard)
--@arg most:digits

--@row members...:ref -- member, ms overdue, …

local now = now_ms()
local list = redis.call('ZRANGEBYSCORE', due_key, '-inf', int(now),
                        'WITHSCORES', 'LIMIT', 0, most)

for i = 2, #list, 2 do
    list[i] = int(now - tonumber(list[i]))
end

return list
