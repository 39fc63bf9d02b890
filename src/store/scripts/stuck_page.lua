--@again
--@light

-- A page of the operations that are stuck, the longest first.

--@key stuck
--@arg from?      -- what a page gave as its cursor: goes on after that
--@arg most:int

--@row cursor members...   -- to go on with, or ""; "TENANT ID"

-- "AT:TENANT:ID"; of those of one instant, the order is their own
local at, tenant, id = string.match(from or '', '^(%d+):(.+):([^:]+)$')
local after = at and tenant .. ' ' .. id
local same = at and redis.call('ZCOUNT', stuck_key, at, at) or 0

local page = redis.call('ZRANGEBYSCORE', stuck_key, at or '-inf', '+inf',
                        'WITHSCORES', 'LIMIT', 0, most + 1 + same)
local reply, last = { '' }

for i = 1, #page, 2 do
    if page[i + 1] ~= at or page[i] > after then
        if #reply > most then
            reply[1] = last
            break
        end

        reply[#reply + 1] = page[i]
        last = page[i + 1] .. ':' .. string.gsub(page[i], ' ', ':')
    end
end

return reply
