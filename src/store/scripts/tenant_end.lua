--@include lib/hook.lua
--@include lib/tenant.lua

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

--@arg at:digits -- when the deletion began

--@reply ended|gone      -- gone: another deletion was here before
--@reply other customer  -- since then one of its name was made
--@reply undone customer

if not tenant_leaves(tenant_key) then
    if not tenant_there(tenant_key) then
        return 'gone'
    end

    return { tenant_undone(tenant_key, at) and 'undone' or 'other',
             redis.call('HGET', tenant_key, 'customer') or '' }
end

for _, id in ipairs(redis.call('ZRANGE', hooks_key, 0, -1)) do
    local keys = hook_keys(hooks_key, id)

    redis.call('UNLINK', keys.hook, keys.due, keys.busy, keys.log)
end

redis.call('UNLINK', lines_key, events_key, events_before_key, window_key,
           pending_key, tickets_open_key, declined_key, calls_key,
           previews_key, hooks_key, hook_seq_key, tenant_key)

return 'ended'
