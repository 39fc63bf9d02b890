--@again
--@light
--@include lib/time.lua

-- A ticket that is about to be moved, and when it was read, by the clock that
-- its move is judged by.

--@key ticket(id)

--@row status? area? looks? now:int

local h = redis.call('HMGET', ticket_key, 'status', 'area', 'looks')

return { h[1] or '', h[2] or '', h[3] or '', int(now_ms()) }
