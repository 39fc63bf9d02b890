--@include lib/hook.lua

-- The end of a deletion: what names no other thing, and the record.

--@key tenant
--@key lines
--@key events
--@key events_before
--@key window
--@key pending
--@key tickets_open
--@key declined
--@key calls
--@key previews
--@key hooks
--@key hook_seq

--@value ended:int -- 0: another deletion was here before

if redis.call('HEXISTS', tenant_key, 'deleting') == 0 then
    return 0
end

for _, id in ipairs(redis.call('ZRANGE', hooks_key, 0, -1)) do
    local keys = hook_keys(hooks_key, id)

    redis.call('UNLINK', keys.hook, keys.due, keys.busy, keys.log)
end

redis.call('UNLINK', lines_key, events_key, events_before_key, window_key,
           pending_key, tickets_open_key, declined_key, calls_key,
           previews_key, hooks_key, hook_seq_key, tenant_key)

return 1
