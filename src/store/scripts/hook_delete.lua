--@include lib/hook.lua

--@key hooks
--@arg id

--@value deleted:int

local keys = hook_keys(hooks_key, id)

redis.call('UNLINK', keys.hook, keys.due, keys.busy, keys.log)

return redis.call('ZREM', hooks_key, id)
