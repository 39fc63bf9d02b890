--@again
--@light

-- Operations of a tenant, counted: how many go on, how many are stuck, and when
-- the oldest of both was begun; 0 without any.

--@keys op(ids)

--@row running:int stuck:int oldest:int

local running, stuck, oldest = 0, 0, 0

for _, key in ipairs(op_keys) do
    local op = redis.call('HMGET', key, 'step', 'begun', 'stuck')
    local begun = tonumber(op[2]) or 0

    if op[1] and op[1] ~= '' and op[1] ~= 'done' then

        if op[3] and op[3] ~= '' then
            stuck = stuck + 1
        else
            running = running + 1
        end

        if begun > 0 and (oldest == 0 or begun < oldest) then
            oldest = begun
        end
    end
end

return { running, stuck, oldest }
