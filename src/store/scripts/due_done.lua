--@light
--@include lib/time.lua

-- An operation has ended that may begin again under the same id.  Whoever
-- begins it writes the hint first: one that is fresh may be such, and stays
-- to be looked at once more.

--@key due(shard)
--@arg member=<tenant>\s<id>
--@arg late:int      -- ms

--@value dropped:int -- 1, or 0

local due = tonumber(redis.call('ZSCORE', due_key, member) or '')

if due and now_ms() - due >= late then
    return redis.call('ZREM', due_key, member)
end

return 0
