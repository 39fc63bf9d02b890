--@include lib/hook.lua

-- A webhook is told of an event again, or of all that follow one.

--@key hook(id)
--@key hook_due(id)
--@key hook_busy(id)
--@key events
--@arg entry:int
--@arg all:flag   -- that follow it

--@reply replayed
--@reply unknown
--@reply gone     -- there is no such event, or not any more

if redis.call('EXISTS', hook_key) == 0 then
    return 'unknown'
end

local n = redis.call('LLEN', events_key)
local last = n > 0 and journal_id(events_key, -1)

if not last or entry > last or entry < journal_id(events_key, 0) - 1 then
    return 'gone'
end

if all then
    local cursor = tonumber(redis.call('HGET', hook_key, 'cursor'))

    -- they come by the cursor, and not by these besides
    for _, member in ipairs(redis.call('ZRANGE', hook_due_key, 0, -1)) do
        if hook_member(member) > entry then
            redis.call('ZREM', hook_due_key, member)
        end
    end

    redis.call('HSET', hook_key, 'cursor', int(math.min(cursor, entry)))

    return 'replayed'
end

local text = redis.call('LINDEX', events_key,
                        journal_after(events_key, n, entry - 1))

if event_id(text) ~= entry or not entry_shown(entry, text) then
    return 'gone'
end

-- instead of its next try
for _, member in ipairs(redis.call('ZRANGE', hook_due_key, 0, -1)) do
    if hook_member(member) == entry then
        redis.call('ZREM', hook_due_key, member)
    end
end

redis.call('ZADD', hook_due_key, int(now_ms()), int(entry) .. ' 0')

return 'replayed'
