-- The keys of a webhook, by that of the list of its tenant's.

local function hook_keys(hooks, id)
    local stem = string.gsub(hooks, 's$', '')

    return {
        hook = stem .. ':' .. id, due = stem .. '_due:' .. id,
        busy = stem .. '_busy:' .. id, log = stem .. '_log:' .. id
    }
end
