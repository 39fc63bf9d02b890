-- An operator's session ends by his word.

--@key session(hash)
--@key sessions(operator)

--@value ended:int

redis.call('ZREM', sessions_key, (string.match(session_key, '[^:]+$')))

return redis.call('DEL', session_key)
