--@again
-- Whether one of these operations is under way.  Reads only.

--@keys op(ids)

--@value unfinished:int

local unfinished = 0

for _, key in ipairs(op_keys) do
    local step = redis.call('HGET', key, 'step')

    if step and step ~= 'done' then
        unfinished = unfinished + 1
    end
end

return unfinished
