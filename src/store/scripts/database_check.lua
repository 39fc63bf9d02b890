--@again
--@light
--@include lib/time.lua

-- Is this the database that it was?  It has an id and a watermark, which nodes
-- remember.  What says otherwise is written here, so that all nodes hold, those
-- that begin later too, until the operator says that it is this one now.  But
-- where it is well, and another deployment's, only who asks is in the wrong; and
-- it stays that deployment's but for the operator's word.

--@key database
--@arg known?          -- the id that is remembered; none: nothing is
--@arg watermark:int   -- likewise, ms
--@arg id              -- a new one, for a database that has none
--@arg raise:flag      -- it has stood for a minute
--@arg confirm:flag    -- by the operator
--@arg after:int?      -- ms between two writes of the anchor; none: no anchor
--@arg deployment      -- of who asks

--@reply fine id watermark:int anchor:int born:int
-- anchor: 1, it is to be written; born: what is older than this is nothing that
-- this database must know, ms
--@reply held reason id? watermark:int? since:int whose
-- whose: the deployment that it is of, where only who asks is held; or ""

-- what is lost of less is but a lost suffix
local SUFFIX = 120000
local MINUTE = 60000

-- so long who said that it is this one may say it again, not having heard
local REPEAT = 300000

-- of each 28 bytes: more rests of all nodes than anybody remembers
local GAPS = 64 * 28

local now = now_ms()
local h = redis.call('HMGET', database_key, 'id', 'watermark', 'confirmed',
                     'anchored', 'held', 'since', 'born', 'deployment', 'gaps')

local stored = tonumber(h[2]) or 0
local reason = h[5] or nil
local since = tonumber(h[6]) or now
local whose = ''
local gaps = h[9] or ''


-- It was raised by more than a suffix at once, over that: this database never
-- had it.  A node that slept through a restore of it may have been the first to
-- look, and have raised what others would have known to be old.
local function skipped(mark)
    for from, to in string.gmatch(gaps, '(%d+) (%d+) ') do
        if mark > tonumber(from) + SUFFIX and mark < tonumber(to) then
            return true
        end
    end
end


-- of another name, and nobody who asks was here before
if h[1] and h[8] and h[8] ~= deployment and h[1] ~= known then
    reason, whose = 'another', h[8]

elseif known and not reason then

    if not h[1] then
        reason = 'empty'

    elseif h[1] ~= known then

        -- but for one that was confirmed since
        if (tonumber(h[3]) or 0) < watermark - SUFFIX then
            reason = 'another'

            -- its nodes are content, and were so when this one's was still
            -- there, by the watermark, which another clock may have set, and
            -- by this clock: what takes the place of one is found in no time
            if stored > now - SUFFIX
               and (tonumber(h[7]) or 0) < math.min(watermark, now - SUFFIX)
            then
                whose = h[8] or '?'
            end
        end

    elseif stored < watermark - SUFFIX or skipped(watermark) then
        reason = 'behind'
    end

    if reason and whose == '' then
        redis.call('HSET', database_key, 'held', reason, 'since', int(now))
    end
end

if reason and not confirm then
    return { 'held', reason, h[1], h[2], int(since), whose }
end

-- who asks takes it as it is, and over
if h[1] and confirm then
    redis.call('HSET', database_key, 'deployment', deployment)
end

if whose ~= '' and not h[5] then
    reason, confirm = nil, nil
end

-- it never falls, whatever the clock does
if reason then
    h[1], h[4] = id, nil
    stored = math.max(now, stored, watermark)
    h[7] = int(now)
    redis.call('HDEL', database_key, 'held', 'since', 'anchored', 'gaps')
    redis.call('HSET', database_key, 'id', id, 'watermark', int(stored),
               'confirmed', int(stored), 'born', h[7],
               'deployment', deployment)

elseif not h[1] then
    h[1] = id
    stored = now
    h[7] = int(now)
    redis.call('HSET', database_key, 'id', id, 'watermark', int(stored),
               'born', h[7], 'deployment', deployment)

elseif raise and stored <= watermark then
    local last = stored

    stored = math.max(now, stored + MINUTE)

    if stored - last > SUFFIX then
        gaps = string.sub(int(last) .. ' ' .. int(stored) .. ' ' .. gaps, 1,
                          GAPS)
        redis.call('HSET', database_key, 'gaps', gaps)
    end

    redis.call('HSET', database_key, 'watermark', int(stored))
    redis.call('HSETNX', database_key, 'deployment', deployment)
end

local anchor = after and (not h[4] or stored - tonumber(h[4]) >= after)

if anchor then
    redis.call('HSET', database_key, 'anchored', int(stored))
end

-- what it does not know is not its own until that is said, too; a word that was
-- said twice, as its answer was lost, is but that
if confirm and not reason
   and not (h[3] and left((tonumber(h[7]) or 0) + REPEAT, now, REPEAT) > 0)
then
    h[7] = '0'
    redis.call('HSET', database_key, 'born', h[7])
end

return { 'fine', h[1], int(stored), anchor and '1' or '0', h[7] or '0' }
