-- A tenant that is being deleted is none any more.  Its record says so until
-- the last of what it leaves behind is gone: none of its name is made by then.

local function tenant_there(tenant_key)
    return redis.call('EXISTS', tenant_key) == 1
           and redis.call('HEXISTS', tenant_key, 'deleting') == 0
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
