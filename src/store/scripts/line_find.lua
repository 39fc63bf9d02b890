--@again
--@light
--@include lib/record.lua

-- The latest line of an account that has, or had, a number: looked for among
-- some of its lines, of which the first are the latest.

--@key lines
--@arg number
--@arg from:int -- of them

--@row id? next:int -- of that line; where to go on, 0: there are no more

local MOST = 100

local ids = redis.call('ZRANGE', lines_key, -from - MOST, -from - 1)
local prefix = string.gsub(lines_key, 'lines$', 'line:')

for i = #ids, 1, -1 do
    if redis.call('HGET', line_at(prefix .. ids[i]), 'phone') == number then
        return { ids[i], 0 }
    end
end

return { false, #ids == MOST and from + MOST or 0 }
