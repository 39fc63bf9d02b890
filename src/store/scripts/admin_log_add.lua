--@include lib/time.lua

-- An operator asks for something that changes something: who and what, before
-- it is done, or refused.

--@key admin_log as log
--@arg operator
--@arg method
--@arg path
--@arg body         -- its first bytes
--@arg address
--@arg request
--@arg most:digits  -- entries that are kept
--@arg status:int?  -- that it is refused with unread; none: it is judged later

redis.call('XADD', log_key, 'MAXLEN', '~', most, '*', 'operator', operator,
           'method', method, 'path', path, 'body', body, 'address', address,
           'request', request,
           unpack(status and { 'status', int(status) } or {}))
