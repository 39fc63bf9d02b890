--@again
--@light

-- What became of a webhook's latest calls, the last one first.

--@key hook(id)
--@key hook_log(id)

--@reply calls documents...
--@reply unknown

if redis.call('EXISTS', hook_key) == 0 then
    return 'unknown'
end

local list = redis.call('LRANGE', hook_log_key, 0, -1)
local reply = { 'calls' }

for i = #list, 1, -1 do
    reply[#reply + 1] = list[i]
end

return reply
