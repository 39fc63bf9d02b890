--@again
-- Places in an account's windows: those behind which there is neither a line
-- nor an operation.  Reads only.

--@keys line(ids)
--@keys op(ids)

--@row lost...

local lost = {}

for i, key in ipairs(line_keys) do
    if redis.call('EXISTS', key) == 0 and redis.call('EXISTS', op_keys[i]) == 0
    then
        lost[#lost + 1] = string.match(key, '([^:]*)$')
    end
end

return lost
