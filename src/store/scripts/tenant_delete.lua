-- Deletes a tenant that has no live line and no unfinished operation.
--
-- KEYS  1 tenant  2 operations  3 pending
--
-- Returns "deleted" | "unknown" | "lines" | "operations"

if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'unknown'
end

if redis.call('SCARD', KEYS[2]) > 0 then
    return 'operations'
end

if redis.call('EXISTS', KEYS[3]) == 1 then
    return 'lines'
end

-- every live line takes a place, in a plan or in an account
local places = redis.call('HMGET', KEYS[1], 'phone_included', 'phone_paid',
                          'email_included', 'email_paid', 'account_lines')

for i = 1, 5 do
    if tonumber(places[i] or 0) > 0 then
        return 'lines'
    end
end

redis.call('DEL', KEYS[1])

return 'deleted'
