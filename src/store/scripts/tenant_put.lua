-- Creates a tenant or merges the members given.
--
-- KEYS  1 tenant  2 API keys
-- ARGV  field, value pairs; a value of "" takes the field away
--
-- Returns 1 where the tenant is new, else 0; -1: one of this name is being
-- deleted, or was not wholly, and its API keys would be good for this one

local new = redis.call('EXISTS', KEYS[1]) == 0

if redis.call('HEXISTS', KEYS[1], 'deleting') == 1
   or (new and redis.call('SCARD', KEYS[2]) > 0)
then
    return -1
end

redis.call('HSETNX', KEYS[1], 'plan', '')

for i = 1, #ARGV, 2 do
    if ARGV[i + 1] == '' and ARGV[i] ~= 'plan' then
        redis.call('HDEL', KEYS[1], ARGV[i])
    else
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end

return new and 1 or 0
