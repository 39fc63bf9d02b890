--@again
--@light
--@include lib/line.lua

-- A line's document, and its status as the record has it.

--@key line(id)

--@row json status -- nothing where there is no such line

local h = line_hash(line_key)

return h and { h.json, h.status } or {}
