-- Numbers that can be handed out.  One that is there already is left as it is.
--
-- KEYS  1 numbers  2 free  3 all
-- ARGV  number, worker, …
--
-- Returns { added, present }

local added, present = 0, 0

for i = 1, #ARGV, 2 do
    if redis.call('HSETNX', KEYS[1], ARGV[i], 'free ' .. ARGV[i + 1]) == 1 then
        redis.call('ZADD', KEYS[2], 0, ARGV[i])
        redis.call('ZADD', KEYS[3], 0, ARGV[i])
        added = added + 1
    else
        present = present + 1
    end
end

return { added, present }
