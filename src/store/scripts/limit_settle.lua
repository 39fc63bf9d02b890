--@light
--@include lib/bucket.lua

-- Charges buckets with what a node has let through ahead, as of when it did: it
-- comes with its age.  Nothing of it is forgiven: a bucket may go below empty,
-- and refills first.  And takes tokens, where they are there.  All in integers
-- of a microsecond and its millionths, exact below 2^53: while a bucket fills
-- within two centuries.

--@key limit_settled(shard, node) as settled
--@keys limit_bucket(shard, ids) as bucket
--@arg number:int -- of the settlement: one that is not new changes nothing, and
--                   is told how the buckets are; of who asks: the one that is
--                   on its way, or 0
--@arg need:int   -- tokens that who asks takes of each; what it uses is not
--                   charged, but is not there for it; 0: of a settlement
--@arg sent:int   -- so many of what who asks uses are charged by that settlement
--@list uses      -- of each: "USES AGE INTERVAL BURST VERSION", age and interval
--                   in microseconds; the version of a rate: when it was read (ms)

--@row granted:int settled:int buckets...
-- granted: how many of the buckets gave what was needed; settled: the latest
-- settlement of this node that is charged; of each bucket: in how
-- many microseconds it is full, and its rate where a newer one is known:
-- "FULL [INTERVAL BURST VERSION]"

-- what comes late was let through before others that were charged first: so long
-- a bucket that is full is remembered
local KEPT = 30000000

-- Nodes may have other rates than others have, as a change of the configuration
-- goes round: so long (s) the one that counted before is remembered, and all is
-- charged by both.  Who comes by it again finds what it was, and not what could
-- be told of it by the other one.
local FORMER = 3600

-- Anything else under one of these names is as nothing, and makes room: or else
-- it would keep all buckets of its shard from being settled, for ever.
local function read(key)
    local value = redis.pcall('GET', key)
    return type(value) == 'string' and value or ''
end

local now = now_us()
local settled = tonumber(read(settled_key)) or 0
local fresh = need == 0 and number > settled
local charged = need > 0 and number <= settled and sent or 0
local granted, reply = 0, { 0 }

-- when it will be full, and the millionths of that, with so many tokens less
local function take(tat, parts, tokens, each, at)
    if tat < at then
        tat, parts = at, 0
    end

    local whole = math.floor(each)

    parts = parts + tokens * math.floor((each - whole) * 1000000 + 0.5)

    return tat + tokens * whole + math.floor(parts / 1000000), parts % 1000000
end

-- a clock that was set back leaves no more than a debt
local function bound(tat, parts, most, each)
    if tat - now > most * each then
        return now + math.floor(most * each), 0
    end

    return tat, parts
end

if fresh then
    settled = number
    redis.call('SET', settled_key, string.format('%.0f', number), 'PX', 3600000)
end

reply[2] = settled

for i, key in ipairs(bucket_keys) do
    local n, age, interval, size, version =
        string.match(uses[i], '^(%-?%d+) (%d+) (%S+) (%d+) (%d+)$')
    local burst = tonumber(size)
    local stored = read(key)
    local tat, parts, was, was_size, was_version, former =
        string.match(stored, '^(%d+)%.(%d+) (%d+%.?%d*) (%d+) (%d+)(.*)$')
    local most, news = 3 * burst, ''

    -- the same by the rate that counted before: FORMER_TAT.PARTS INTERVAL BURST
    -- ASKED, by whom it was asked for last (s)
    local tat2, parts2, each2, size2, asked2

    if former and former ~= '' then
        tat2, parts2, each2, size2, asked2 =
            string.match(former, '^ (%d+)%.(%d+) (%d+%.?%d*) (%d+) (%d+)$')

        if tat2 and math.abs(now / 1000000 - tonumber(asked2)) > FORMER then
            tat2 = nil
        end

        tat2, parts2 = tonumber(tat2), tonumber(parts2)
    end

    n, age = tonumber(n), tonumber(age)

    -- by a node's clock that is ahead of this one nobody else's is older for long
    version = math.min(tonumber(version), math.floor(now / 1000))

    tat, parts = tonumber(tat) or 0, tonumber(parts) or 0

    -- nor by one of this, before it was set back
    local known = tonumber(was_version or 0)

    if known > now / 1000 then
        known = 0
    end

    local other = was and (was ~= interval or was_size ~= size)

    if was and known > version then
        version = known

        -- let through by a rate that counts no more: no debt comes of that, but
        -- one that is there stays
        if other then
            interval, size, burst = was, was_size, tonumber(was_size)
            most = math.min(3 * burst,
                            math.max(burst, (tat - now) / tonumber(interval)))
            news = string.format(' %s %s %.0f', interval, size, version)
        end

    elseif other then
        local before = { tat, parts, was, was_size, math.floor(now / 1000000) }

        if tat2 and each2 == interval and size2 == size then
            tat, parts = tat2, parts2

        -- as much is gone as before, and what it was short of, but no more
        -- becomes a debt by a burst that is smaller
        elseif tat > now then
            local used = (tat - now) / tonumber(was)
            local debt = math.max(used - tonumber(was_size), 0)

            tat = now + math.floor(math.min(used, burst + debt)
                                   * tonumber(interval))
            parts = 0
        end

        tat2, parts2, each2, size2, asked2 = unpack(before)
    end

    local each = tonumber(interval)
    local at = now

    if fresh and n ~= 0 then
        at = now - math.min(age, KEPT)
        tat, parts = take(tat, parts, n, each, at)
    end

    tat, parts = bound(tat, parts, most, each)

    -- a fraction of what is full by now is nothing
    local short = tat < now and 0 or tat - now + parts / 1000000
    local gone = fresh and n or 0

    -- what is not charged yet, and will be, is not there for who asks
    if need > 0
       and short + (need + n - charged) * each <= burst * each + 0.001
    then
        tat, parts = take(tat, parts, need, each, now)
        granted = granted + 1
        gone = need
    end

    local also = ''

    if tat2 then
        if gone ~= 0 then
            tat2, parts2 = take(tat2, parts2, gone, tonumber(each2), at)
        end

        tat2, parts2 = bound(tat2, parts2, 3 * tonumber(size2),
                             tonumber(each2))
        also = string.format(' %.0f.%.0f %s %s %s', tat2, parts2, each2, size2,
                             asked2)
    end

    local last = math.max(tat, tat2 or 0)

    if last > now - KEPT then
        local value = string.format('%.0f.%.0f %s %s %.0f%s', tat, parts,
                                    interval, size, version, also)

        -- who is refused writes nothing, be there room in Redis or not
        if value ~= stored then
            redis.call('SET', key, value, 'PX',
                       string.format('%.0f', math.ceil((last - now + KEPT)
                                                       / 1000)))
        end
    elseif was then
        redis.call('DEL', key)
    end

    reply[i + 2] = string.format('%.0f', math.max(tat - now, 0))
                   .. news
end

reply[1] = granted

return reply
