-- A workspace whose subscription is not active suspends its lines, all at once.
-- Who reads one line, by its document, looks for a key that says so.

local function unpaid_tell(tenant_key, unpaid_key)
    local subscription = string.find(tenant_key, '{w:', 1, true)
                         and redis.call('HGET', tenant_key, 'subscription')

    if subscription and subscription ~= 'active' then
        redis.call('SET', unpaid_key, subscription)
    else
        redis.call('DEL', unpaid_key)
    end
end
