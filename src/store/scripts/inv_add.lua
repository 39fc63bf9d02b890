-- Numbers that can be handed out.  One that is there already is left as it is.

--@key inv_numbers
--@key inv_free
--@key inv_all
--@list numbers -- number, worker, …

--@row added:int present:int

local added, present = 0, 0

for i = 1, #numbers, 2 do
    local number, worker = numbers[i], numbers[i + 1]

    if redis.call('HSETNX', inv_numbers_key, number, 'free ' .. worker) == 1
    then
        redis.call('ZADD', inv_free_key, 0, number)
        redis.call('ZADD', inv_all_key, 0, number)
        added = added + 1
    else
        present = present + 1
    end
end

return { added, present }
