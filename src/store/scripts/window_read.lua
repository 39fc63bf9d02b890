--@again
--@light
--@include lib/window.lua

-- An account's plan and its two windows.

--@key tenant
--@key window
--@key ops
--@list plans         -- plan, limit a day, limit a month of each

--@row now:int plan day_limit day_used:int day_full:int day_retry_after day_resets_at month_limit month_used:int month_full:int month_retry_after month_resets_at
-- for day and month: the limit, "" for none; how many are used; 1 where it is
-- full; Retry-After (seconds, or ""); the instant when it resets, or ""

local now = now_ms()
local own = redis.call('HMGET', tenant_key, 'plan', 'limit_daily',
                       'limit_monthly')
local unresolved = redis.call('SMEMBERS', ops_key)
local reply = { int(now), own[1] or '' }
local limits = {}

for i = 1, #plans, 3 do
    if plans[i] == own[1] then
        limits = { plans[i + 1], plans[i + 2] }
    end
end

for i, length in ipairs({ DAY, MONTH }) do
    local limit = limit_of(own[i + 1], limits[i])
    local state = window_state(window_key, unresolved, now, length, limit)

    reply[#reply + 1] = limit and int(limit) or ''
    reply[#reply + 1] = int(state.used)
    reply[#reply + 1] = state.full and '1' or ''
    reply[#reply + 1] = retry_after(state, now)
    reply[#reply + 1] = state.resets_at and iso8601(state.resets_at) or ''
end

return reply
