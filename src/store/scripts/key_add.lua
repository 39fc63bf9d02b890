--@again

-- Lists an API key with its tenant, unless that is gone, or on its way out.
--
-- KEYS  1 tenant  2 API keys
-- ARGV  1 id of the key
--
-- Returns 1 where it is listed, else 0

if redis.call('EXISTS', KEYS[1]) == 0
   or redis.call('HEXISTS', KEYS[1], 'deleting') == 1
then
    return 0
end

redis.call('SADD', KEYS[2], ARGV[1])

return 1
