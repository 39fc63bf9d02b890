-- Whether the line or the ticket that a hint announced is there.  One that is
-- not can begin no more, by whatever clock: its hint goes, and its index.

--@key line(id)
--@key ticket(id)
--@key never(id)

--@value there:int

if redis.call('EXISTS', line_key, ticket_key) > 0 then
    return 1
end

redis.call('SET', never_key, '', 'EX', 86400)

return 0
