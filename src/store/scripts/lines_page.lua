--@again
--@light

-- A page of lines, from the newest or the oldest on, behind the one where the
-- page before ended: others may have come and gone since.

--@given lines
--@arg oldest:flag
--@arg score?      -- of that one; none: from the end
--@arg member      -- and itself
--@arg most:int

--@row exhausted:int members...
-- 1 where no more will follow; each with its score

local function read(offset)
    if oldest then
        return redis.call('ZRANGEBYSCORE', lines_key, score or '-inf', '+inf',
                          'WITHSCORES', 'LIMIT', offset, most)
    end

    return redis.call('ZREVRANGEBYSCORE', lines_key, score or '+inf', '-inf',
                      'WITHSCORES', 'LIMIT', offset, most)
end


-- byte by byte, as the set has them: Lua's own order is the server's locale's
local function greater(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)

        if x ~= y then
            return x > y
        end
    end

    return #a > #b
end


-- what has the same score may have been on that page
local function behind(other, at)
    if not score or at ~= score then
        return true
    elseif oldest then
        return greater(other, member)
    end

    return greater(member, other)
end


local page, offset, n = {}, 0

repeat
    local found = read(offset)

    for i = 1, #found, 2 do
        if behind(found[i], found[i + 1]) then
            page[#page + 1] = found[i]
            page[#page + 1] = found[i + 1]
        end
    end

    n = #found / 2
    offset = offset + n
until #page > 0 or n == 0 or n < most

return { n < most and 1 or 0, unpack(page) }
