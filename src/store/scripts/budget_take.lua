--@light
--@include lib/bucket.lua

-- Takes a token of the fleet's budget of calls to billing for each of those that
-- wait, in their order, until there is none for the next.

--@key budget
--@arg interval:int  -- µs in which a token comes back
--@arg size:int      -- of the bucket
--@arg first:int     -- so many are under way,
--@arg again:int     -- charge what was not charged at once,
--@arg new:int       -- charge what begins,
--@arg last:int      -- or can wait: the auditor

--@row granted:int ms:int
-- ms: until there may be one for the next

local now = now_us()
local tat = math.max(tonumber(redis.call('GET', budget_key) or 0), now)
local empty = now + size * interval
local granted, short = 0, 0

-- emptier than empty, by a rate that was raised or a clock that was set back
if tat > empty then
    tat = empty
    bucket_put(budget_key, tat, now)
end

-- each leaves a part of the bucket to those who come before it
for _, of in ipairs({ { first, 0 }, { again, 0.1 }, { new, 0.2 },
                      { last, 0.5 } }) do
    for _ = 1, of[1] do
        short = tat + (1 + size * of[2]) * interval - empty

        if short > 0 then
            break
        end

        tat, granted = tat + interval, granted + 1
    end

    if short > 0 then
        break
    end
end

if granted > 0 then
    bucket_put(budget_key, tat, now)
end

return { granted, short > 0 and math.floor(short / 1000) + 1 or 0 }
