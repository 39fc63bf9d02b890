--@again
--@light
-- Whether one of these operations is under way; or an orphan's was ended by a
-- person's word, that nothing more goes back.  Reads only.

--@keys op(ids)

--@value unfinished:int

local unfinished = 0

for _, key in ipairs(op_keys) do
    local step, kind, word, of = unpack(
        redis.call('HMGET', key, 'step', 'kind', 'resolved', 'resolved_step'))

    local said = kind == 'orphan' and word == 'settled' and of

    if step and (step ~= 'done' or said) then
        unfinished = unfinished + 1
    end
end

return unfinished
