-- Shared by every script: it stands before each of them. Totals are numbers modulo 2^52 (see app/rules/totals.py).

local MODULUS = 4503599627370496
local MAX_DISTANCE = 1125899906842624
local NEVER_AT = 9007199254740991
local MAX_COST = 1000000000000000

local function signed_distance(accepted, applied)
    local difference = (accepted - applied) % MODULUS
    if difference >= MODULUS / 2 then return difference - MODULUS end
    return difference
end

local function integer(number)
    return string.format('%.0f', number)
end

-- What time it is for an account: the caller's time, or the moment at which the account's test clock stands (`frozen`). Nothing
-- is dated before what was decided last.
local function clock_of(now_at, last_at, frozen)
    return math.max(tonumber(frozen or now_at), tonumber(last_at))
end

-- Whether whoever priced as of `now_at` did not know at which moment the account's test clock stands.
local function is_of_another_time(now_at, at, frozen)
    return frozen and (tonumber(now_at) < tonumber(frozen) or tonumber(now_at) > at)
end

-- Stream ids order by milliseconds, then sequence.
local function id_at_least(id, other)
    local ms, seq = string.match(id, '(%d+)-(%d+)')
    local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
    ms, other_ms = tonumber(ms), tonumber(other_ms)
    if ms ~= other_ms then return ms > other_ms end
    return tonumber(seq) >= tonumber(other_seq)
end

-- At its boundary an account takes no decision. The first to notice leaves a tick in the stream; the flusher posts what is
-- due in that place, and its publish moves the boundary on. One tick a revision: a publish that left the boundary where it
-- was came before the tick was posted, or brought an earlier boundary. True where the caller has to wait for that.
local function wait_at_boundary(account_key, stream_key, ref, at, valid_until, ticked, revision)
    if at < valid_until then return false end
    if ticked ~= revision then
        local id = redis.call('XADD', stream_key, '*', 'a', ref, 'k', 't', 't', integer(at), 'r', revision, 'c', '0')
        redis.call('HSET', account_key, 'last_id', id, 'last_at', integer(at), 'ticked', revision)
    end
    return true
end

-- The bound that usage would go beyond, the first of them; nil where it is within all. `left` is what could be spent after it.
local function beyond_bound(stream_key, accepted, applied, left, most_entries)
    if signed_distance(accepted, applied) >= MAX_DISTANCE then return 'backlog' end
    if left <= -NEVER_AT then return 'range' end
    if redis.call('XLEN', stream_key) >= most_entries then return 'full' end
    return nil
end

-- The counters beside an account: `{p}:used:<ref>` for `{p}:acct:<ref>`.
local function used_key_of(account_key)
    return (string.gsub(account_key, ':acct:', ':used:', 1))
end

local function used_of(used_key, feature)
    return tonumber(redis.call('HGET', used_key, feature) or 0)
end

-- A counter stands still where doubles stop counting: no limit lies beyond.
local function count_used(used_key, feature, used)
    redis.call('HSET', used_key, feature, integer(math.max(0, math.min(used, NEVER_AT))))
end

-- What the ledger says of an account beside its credit, as MessagePack of `wire.snapshot.Beside`; '' = nothing. Figures are
-- replaced where nothing of the account is under way; the counters also where the period is another, which begins with what
-- the ledger has counted in it. `before` is what the account had: reserved, open, period.
local function bring_beside(account_key, packed, is_quiet, before)
    local beside = packed ~= '' and cmsgpack.unpack(packed) or {0, 0, 0, {}}
    if is_quiet and packed ~= '' then
        redis.call('HSET', account_key, 'reserved', integer(beside[1]), 'open', integer(beside[2]))
    elseif is_quiet and (before[1] or before[2]) then
        redis.call('HDEL', account_key, 'reserved', 'open')
    end
    local period = integer(beside[3])
    if period == '0' then
        if before[3] then
            redis.call('HDEL', account_key, 'period', 'resets_at')
            redis.call('DEL', used_key_of(account_key))
        end
        return
    end
    if is_quiet or period ~= before[3] then
        redis.call('DEL', used_key_of(account_key))
        for _, counter in ipairs(beside[4]) do count_used(used_key_of(account_key), counter[1], counter[2]) end
    end
    redis.call('HSET', account_key, 'period', period, 'resets_at', integer(beside[5]))
end

-- Usage that was decided on: its entry, then the account. `period` is where its units are counted, nil where they are not.
local function append_usage(account_key, stream_key, ref, at, revision, cost, payload, accepted, period)
    local entry = {'a', ref, 'k', 'u', 't', integer(at), 'r', revision, 'c', cost, 'p', payload}
    if period then entry[13], entry[14] = 's', period end
    local id = redis.call('XADD', stream_key, '*', unpack(entry))
    redis.call('HSET', account_key, 'accepted', integer(accepted), 'last_id', id, 'last_at', integer(at))
end

-- Whole units of a counter of micro-units, as text; none where the feature was not counted before.
local function whole_units(counter)
    return math.max(0, counter and tonumber(string.sub(counter, 1, -7)) or 0)
end

-- What `units` cost after `used` of the period, both whole. `tiers` is packed by app/wire/tiers.py: per, then of each tier
-- its amount and, but for the last, its bound. Every number here is an integer below 2^53, so nothing is rounded but the
-- end, half up (app/rules/pricing.py refuses prices with which it would not be so).
local function graduated_cost(tiers, used, units)
    local tier, numerator, at, stop = cmsgpack.unpack(tiers), 0, used, used + units
    for index = 2, #tier, 2 do
        local top = tier[index + 1] and math.min(stop, tier[index + 1]) or stop
        if top > at then
            numerator = numerator + (top - at) * tier[index]
            at = top
        end
    end
    local rest = math.fmod(numerator, tier[1])
    local cost = (numerator - rest) / tier[1]
    if 2 * rest >= tier[1] then return cost + 1 end
    return cost
end

-- Where a reservation stands in `due`. On a test clock it is past due for nobody who goes by the real time: behind all others.
local function due_score(due, frozen)
    return frozen and '+inf' or due
end

-- The member of `due` that is the reservation behind a key: what follows `:rsv:` (see app/wire/keys.py).
local function due_member(reservation_key)
    local _, last = string.find(reservation_key, ':rsv:', 1, true)
    return string.sub(reservation_key, last + 1)
end
