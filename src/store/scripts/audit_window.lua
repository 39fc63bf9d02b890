--@again
-- Places in an account's windows: behind each is a line, or an operation.
-- Reads only.

--@keys line(ids)
--@keys op(ids)

--@row findings... -- kind, outcome, id, here, there, …

local findings = {}

for i, key in ipairs(line_keys) do
    if redis.call('EXISTS', key) == 0 and redis.call('EXISTS', op_keys[i]) == 0
    then
        for _, item in ipairs({ 'window', 'shown',
                                string.match(key, '([^:]*)$'),
                                'a place in the window',
                                'neither a line nor an operation' })
        do
            findings[#findings + 1] = item
        end
    end
end

return findings
