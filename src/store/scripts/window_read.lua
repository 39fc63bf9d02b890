--@again
--@include lib/window.lua

-- An account's plan and its two windows.  Reads only.
--
-- KEYS  1 tenant  2 window  3 operations
-- ARGV  plan, limit a day, limit a month of each plan
--
-- Returns { now, plan, then for day and month:
--           limit ("" for none), used, "1" where it is full,
--           Retry-After (seconds, or ""), instant when it resets, or "" }

local now = now_ms()
local own = redis.call('HMGET', KEYS[1], 'plan', 'limit_daily',
                       'limit_monthly')
local unresolved = redis.call('SMEMBERS', KEYS[3])
local reply = { int(now), own[1] or '' }
local plans = {}

for i = 1, #ARGV, 3 do
    if ARGV[i] == own[1] then
        plans = { ARGV[i + 1], ARGV[i + 2] }
    end
end

for i, length in ipairs({ DAY, MONTH }) do
    local limit = limit_of(own[i + 1], plans[i])
    local state = window_state(KEYS[2], unresolved, now, length, limit)

    reply[#reply + 1] = limit and int(limit) or ''
    reply[#reply + 1] = int(state.used)
    reply[#reply + 1] = state.full and '1' or ''
    reply[#reply + 1] = retry_after(state, now)
    reply[#reply + 1] = state.resets_at and iso8601(state.resets_at) or ''
end

return reply
