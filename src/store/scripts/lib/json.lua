-- JSON text with members in a fixed order: cjson orders them by chance and
-- cannot tell an empty array from an empty object.

local function js(value)
    if value == nil or value == false then
        return 'null'
    end

    -- cjson writes "/" as "\/"
    return (string.gsub(cjson.encode(tostring(value)), '\\/', '/'))
end


-- a string that may be absent: "" and nil are null
local function js_or_null(value)
    if not value or value == '' then
        return 'null'
    end

    return js(value)
end


local function js_bool(value)
    return value == '1' and 'true' or 'false'
end


-- flat list of HGETALL to a table; nil where the key does not exist
local function hash(key)
    local list = redis.call('HGETALL', key)

    if #list == 0 then
        return nil
    end

    local h = {}

    for i = 1, #list, 2 do
        h[list[i]] = list[i + 1]
    end

    return h
end
