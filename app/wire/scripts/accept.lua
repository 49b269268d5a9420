-- Takes one usage event in: decides, appends it to the stream, moves the account, remembers the answer. All or nothing.
--
-- KEYS  1 account  2 stream  3 seen  4 used
-- ARGV  1 now_at  2 snapshot id that the event was priced with  3 cost (micro-credits), where no tiers are given
--       4 '1' to enforce  5 lowest balance an enforced event may leave, '' = the account's floor, '-' = none
--       6 fingerprint  7 account ref  8 payload  9 idempotency window (milliseconds)  10 most entries in the stream
--       11 tiers of a graduated price, packed: the cost follows from what was used before, '' = the cost is given
--       12 the price holds before this moment, '' = no other is to come  13 feature key  14 units (micro-units); both are
--       '' where the feature is not counted  15 hard limit of a period's units (micro-units), '' = none
-- Returns one of
--   {'ok', outcome}        taken in (or refused for credit or the limit) now; outcome as remembered
--   {'seen', stored}       the key was used before; stored = length byte, fingerprint, outcome
--   {'miss'}               the account is not loaded
--   {'wait'}               the account is at a boundary; ask again
--   {'snapshot', id}       the event was priced with another snapshot than the account's
--   {'frozen', at}         the account is on a test clock that stands at `at`, and was asked as of another time
--   {'reprice', at}        by the account's clock another price holds: price it as of `at`, and date it no earlier
--   {'dear', cost}         the tiers make it cost more than one event may; nothing changed
--   {'backlog'} {'full'} {'range'}   beyond a bound; nothing changed
-- An outcome is '+cost:available:overage' or, refused for credit, '-cost:available', or, refused for the limit,
-- '!cost:available:used:limit:resets_at'.
-- `seen` is written last: Lua has no rollback, and a mark without its entry would lose the event for good.

local stored = redis.call('GET', KEYS[3])
if stored then return {'seen', stored} end

local account = redis.call('HMGET', KEYS[1], 'revision', 'base', 'applied', 'accepted', 'last_at', 'valid_until',
    'ticked', 'snapshot', 'floor', 'period', 'resets_at', 'frozen')
if not account[1] then return {'miss'} end
local at = clock_of(ARGV[1], account[5], account[12])
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[7], at, tonumber(account[6]), account[7], account[1]) then
    return {'wait'}
end
if account[8] ~= ARGV[2] then return {'snapshot', account[8]} end
if is_of_another_time(ARGV[1], at, account[12]) then return {'frozen', account[12]} end
if ARGV[12] ~= '' and at >= tonumber(ARGV[12]) then return {'reprice', integer(at)} end

local cost, applied = tonumber(ARGV[3]), tonumber(account[3])
local counter = ARGV[13] ~= '' and redis.call('HGET', KEYS[4], ARGV[13])
if ARGV[11] ~= '' then
    cost = graduated_cost(ARGV[11], whole_units(counter), whole_units(ARGV[14]))
    if cost > MAX_COST then return {'dear', integer(cost)} end
end
local available = tonumber(account[2]) - signed_distance(tonumber(account[4]), applied)
local accepted = (tonumber(account[4]) + cost) % MODULUS
local used, units, limit = tonumber(counter or 0), account[10] and tonumber(ARGV[14]), tonumber(ARGV[15])

local function remember(outcome)
    redis.call('SET', KEYS[3], string.char(#ARGV[6]) .. ARGV[6] .. outcome, 'PX', ARGV[9])
    return {'ok', outcome}
end

if ARGV[4] == '1' and units and limit and used + units > limit then
    return remember('!' .. integer(cost) .. ':' .. integer(available) .. ':' .. integer(used) .. ':' .. ARGV[15] .. ':'
        .. account[11])
end
if ARGV[4] == '1' and ARGV[5] ~= '-' and cost > 0 then
    local floor = ARGV[5] == '' and tonumber(account[9]) or tonumber(ARGV[5])
    if available - cost < floor then
        return remember('-' .. integer(cost) .. ':' .. integer(available))
    end
end
local bound = beyond_bound(KEYS[2], accepted, applied, available - cost, tonumber(ARGV[10]))
if bound then return {bound} end

local overage = math.min(cost, math.max(0, cost - math.max(0, available)))
append_usage(KEYS[1], KEYS[2], ARGV[7], at, account[1], integer(cost), ARGV[8], accepted, units and account[10])
if units then count_used(KEYS[4], ARGV[13], used + units) end
return remember('+' .. integer(cost) .. ':' .. integer(available - cost) .. ':' .. integer(overage))
