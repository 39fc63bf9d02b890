--@include lib/operation.lua
--@include lib/record.lua

-- There is news for an operation: it is to be looked at now.  Who asks a new
-- attempt by then, or ends without a look at money, as its line has failed, or
-- ended, or is included by now, or it gave up a charge that was not there, has no
-- use for it: somebody else is to hear of it.

--@key op(id)
--@key line(id)
--@arg subscription?   -- that it is about
--@arg attempt:digits? -- that this names

--@value unfinished:int -- 0; 1; 2: and who else gives back is to hear of it

local op = redis.call('HMGET', op_key, 'step', 'subscription', 'attempt')

if not op[1] or op[1] == 'done' then
    return 0
end

op_wake(op_key)

-- what is asked for, or looked for, is there, whatever a list shows
if subscription and attempt and tonumber(attempt) == tonumber(op[3])
   and (op[1] == 'send' or op[1] == 'charge')
then
    redis.call('HSET', op_key, 'told', subscription)
end

local line = redis.call('HMGET', line_at(line_key), 'status', 'ended', 'released')

if (attempt and tonumber(attempt) < (tonumber(op[3]) or 0))
   or (subscription and (op[2] or '') ~= '' and op[2] ~= subscription)
   or op_uncharged(op[1], op[2])
   or line[1] == 'failed' or (line[2] or '') .. (line[3] or '') ~= ''
then
    return 2
end

return 1
