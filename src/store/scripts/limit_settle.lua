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

if fresh then
    settled = number
    redis.call('SET', settled_key, string.format('%.0f', number), 'PX', 3600000)
end

reply[2] = settled

for i, key in ipairs(bucket_keys) do
    local n, age, interval, size, version =
        string.match(uses[i], '^(%-?%d+) (%d+) (%S+) (%d+) (%d+)$')
    local burst = tonumber(size)
    local tat, parts, was, was_size, was_version =
        string.match(read(key), '^(%d+)%.(%d+) (%d+%.?%d*) (%d+) (%d+)$')
    local most, news = 3 * burst, ''

    n, age = tonumber(n), tonumber(age)

    -- by a node's clock that is ahead of this one nobody else's is older for long
    version = math.min(tonumber(version), math.floor(now / 1000))

    tat, parts = tonumber(tat) or 0, tonumber(parts) or 0

    -- nor by one of this, before it was set back
    local known = tonumber(was_version or 0)

    if known > now / 1000 then
        known = 0
    end

    if was and known > version then
        version = known

        -- let through by a rate that counts no more: no debt comes of that
        if was ~= interval or was_size ~= size then
            interval, size, burst = was, was_size, tonumber(was_size)
            most = burst
            news = string.format(' %s %s %.0f', interval, size, version)
        end

    elseif was and was ~= interval and tat > now then

        -- as much is gone as before, but what it was short of
        tat = now + math.floor(math.min((tat - now) / tonumber(was), burst)
                               * tonumber(interval))
        parts = 0
    end

    local each = tonumber(interval)
    local whole = math.floor(each)
    local part = math.floor((each - whole) * 1000000 + 0.5)

    local function charge(tokens)
        parts = parts + tokens * part
        tat = tat + tokens * whole + math.floor(parts / 1000000)
        parts = parts % 1000000
    end

    if fresh and n ~= 0 then
        local at = now - math.min(age, KEPT)

        if tat < at then
            tat, parts = at, 0
        end

        charge(n)
    end

    -- a clock that was set back leaves no more than a debt
    if tat - now > most * each then
        tat, parts = now + math.floor(most * each), 0
    end

    -- a fraction of what is full by now is nothing
    local short = tat < now and 0 or tat - now + parts / 1000000

    -- what is not charged yet, and will be, is not there for who asks
    if need > 0
       and short + (need + n - charged) * each <= burst * each + 0.001
    then
        if tat < now then
            tat, parts = now, 0
        end

        charge(need)
        granted = granted + 1
    end

    if tat > now - KEPT then
        redis.call('SET', key, string.format('%.0f.%.0f %s %s %.0f', tat, parts,
                                             interval, size, version),
                   'PX', string.format('%.0f', math.ceil((tat - now + KEPT)
                                                         / 1000)))
    elseif was then
        redis.call('DEL', key)
    end

    reply[i + 2] = string.format('%.0f', math.max(tat - now, 0))
                   .. news
end

reply[1] = granted

return reply
