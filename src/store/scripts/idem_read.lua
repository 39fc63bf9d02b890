--@again
--@light
--@include lib/time.lua

-- What an idempotency key stands for, and the time by the clock of the tenant's
-- own server: those of a cluster differ, and what begins is judged by that one.

--@key tenant
--@given idem?

--@row now:int operation? fingerprint? made? -- none without a key, or anew

local used = idem_key and redis.call('HMGET', idem_key, 'operation',
                                     'fingerprint', 'made')
             or {}

return { int(now_ms()), used[1] or '', used[2] or '', used[3] or '' }
