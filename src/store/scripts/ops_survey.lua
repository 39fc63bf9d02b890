--@again
--@light

-- Operations of a tenant, counted: how many go on, how many are stuck, and when
-- the oldest of both was begun; 0 without any.  And which: by their places.

--@keys op(ids)

--@row running:int stuck:int oldest:int unfinished:list

local running, stuck, oldest, unfinished = 0, 0, 0, {}

for i, key in ipairs(op_keys) do
    local op = redis.call('HMGET', key, 'step', 'begun', 'stuck')
    local begun = tonumber(op[2]) or 0

    if op[1] and op[1] ~= '' and op[1] ~= 'done' then

        if op[3] and op[3] ~= '' then
            stuck = stuck + 1
        else
            running = running + 1
        end

        unfinished[#unfinished + 1] = tostring(i - 1)

        if begun > 0 and (oldest == 0 or begun < oldest) then
            oldest = begun
        end
    end
end

return { running, stuck, oldest, unfinished }
