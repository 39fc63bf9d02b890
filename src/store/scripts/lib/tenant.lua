-- Whether it is being deleted.  What a deletion takes away goes only then: a
-- failover may have lost the mark, while that was on its way to a tenant that
-- lives.
local function tenant_leaves(tenant_key)
    return redis.call('HEXISTS', tenant_key, 'deleting') == 1
end


-- A tenant that is being deleted is none any more.  Its record says so until
-- the last of what it leaves behind is gone: none of its name is made by then.
local function tenant_there(tenant_key)
    return redis.call('EXISTS', tenant_key) == 1
           and not tenant_leaves(tenant_key)
end


-- Whether one whose deletion began at that instant is here again, and is not
-- another of its name, made since: the deletion was lost.
local function tenant_undone(tenant_key, at)
    return tenant_there(tenant_key)
           and tonumber(redis.call('HGET', tenant_key, 'made') or 0)
               < tonumber(at)
end


-- Of one without a record, too: older nodes deleted that before its lines.
local function tenant_left(...)
    return redis.call('EXISTS', ...) > 0
end


-- What a token says, and whose account's it is, where one of the name was there
-- before: when that was made.
local function token_made(text, made)
    return (made or '') == '' and text or text .. ' ' .. made
end
