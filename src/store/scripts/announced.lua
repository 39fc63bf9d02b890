-- Whether the line or the ticket that a hint announced is there.  One that is
-- not can begin no more, by whatever clock: its hint goes, and its index.  But
-- what may be charged for keeps that where its tenant is lost, and was never
-- deleted: it says whose the charge is, until the tenant is there again.

--@key line(id)
--@key ticket(id)
--@key never(id)
--@key tenant
--@key deleted
--@arg charged:flag

--@value there:int

if redis.call('EXISTS', line_key, ticket_key) > 0
   or (charged and redis.call('EXISTS', tenant_key, deleted_key) == 0)
then
    return 1
end

redis.call('SET', never_key, '', 'EX', 86400)

return 0
