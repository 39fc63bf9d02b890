-- Where a line's fields are (lib/line.lua has what they are): in a hash beside
-- its document, or, of the layout before, where the document would be.

local function line_record(key)
    return (string.gsub(key, '^(lines:{.*}:)line(:[^:]*)$', '%1rec%2'))
end


-- whether it is of the layout before
local function line_before(key)
    return redis.call('TYPE', key).ok == 'hash'
end


-- its fields, but for those that only the document has
local function line_at(key)
    return line_before(key) and key or line_record(key)
end
