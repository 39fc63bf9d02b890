--@include lib/operation.lua

-- The money of an invoice that a person has settled was counted: his word is
-- good for what billing shows to be due, and no more.  What he gave back there
-- is among what was counted, and due again should it fail.

--@key op(id)
--@key settled
--@arg step
--@arg attempt:digits
--@arg fence:digits
--@arg id
--@arg due:int?  -- nil: it cannot be told

--@reply ok amount -- that counts as given back: "all", or ""
--@reply lost step attempt fence

if not guarded(op_key, step, attempt, fence) then
    return lost(op_key)
end

return { 'ok', op_settle(op_key, settled_key, due) }
