-- Sets credit aside: decides, appends the opening to the stream, moves the account, remembers it all. All or nothing.
--
-- KEYS  1 account  2 stream  3 reservation  4 used  5 due
-- ARGV  1 now_at  2 snapshot id that it was priced with  3 cost (micro-credits), which is reserved, where no tiers are given
--       4 how long it stays open (microseconds)  5 lowest balance that it may leave, '' = the account's floor, '-' = none
--       6 fingerprint  7 account ref  8 payload  9 idempotency window (milliseconds)  10 most entries in the stream
--       11 tiers of a graduated price, packed: the cost follows from what was used before, '' = the cost is given
--       12 the price holds before this moment, '' = no other is to come  13 feature key  14 units (micro-units); both are
--       '' where they are not counted  15 hard limit of a period's units (micro-units), '' = none  16 facts
--       17 most open reservations of an account  18 how many that are past due are named at most
-- Returns one of
--   {'ok', outcome}           reserved (or refused for credit or the limit) now; outcome as remembered
--   {'seen', asked, outcome}  the key was used before; asked = the fingerprint, '' where core put the reservation back
--   {'miss'}                  the account is not loaded
--   {'wait'}                  the account is at a boundary; ask again
--   {'snapshot', id}          it was priced with another snapshot than the account's
--   {'frozen', at}            the account is on a test clock that stands at `at`, and was asked as of another time
--   {'reprice', at}           by the account's clock another price holds: price it as of `at`, and date it no earlier
--   {'dear', cost}            the tiers make it cost more than one event may; nothing changed
--   {'due', member...}        reservations of the partition are past due at now_at: expire those that are so by the asker's
--                             clock, ask again. The account's clock, which may be ahead, must not end what others have open;
--                             on a test clock none is named: whoever moves that clock ends what falls due
--   {'many'}                  the account has as many open reservations as it may
--   {'backlog'} {'full'} {'range'}   beyond a bound; nothing changed
-- An outcome is '+reserved:available:due' or, refused for credit, '-cost:available', or, refused for the limit,
-- '!cost:available:used:limit:resets_at'.
-- The reservation is written last: Lua has no rollback, and one without its entry would be answered and never posted.

local known = redis.call('HMGET', KEYS[3], 'state', 'asked', 'opening', 'reserved', 'due')
if known[3] then return {'seen', known[2], known[3]} end

local account = redis.call('HMGET', KEYS[1], 'revision', 'base', 'applied', 'accepted', 'last_at', 'valid_until',
    'ticked', 'snapshot', 'floor', 'reserved', 'open', 'period', 'resets_at', 'frozen')
if not account[1] then return {'miss'} end
local cost, applied = tonumber(ARGV[3]), tonumber(account[3])
local available = tonumber(account[2]) - signed_distance(tonumber(account[4]), applied)
if known[1] then return {'seen', '', '+' .. known[4] .. ':' .. integer(available) .. ':' .. known[5]} end

-- Dated after everything that was decided before: so the ledger tells a key that came again from an entry that it reads again.
local frozen = account[14]
local at = clock_of(ARGV[1], tonumber(account[5]) + 1, frozen)
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[7], at, tonumber(account[6]), account[7], account[1]) then
    return {'wait'}
end
if account[8] ~= ARGV[2] then return {'snapshot', account[8]} end
if is_of_another_time(ARGV[1], at, frozen) then return {'frozen', frozen} end
if ARGV[12] ~= '' and at >= tonumber(ARGV[12]) then return {'reprice', integer(at)} end
local counter = ARGV[13] ~= '' and redis.call('HGET', KEYS[4], ARGV[13])
if ARGV[11] ~= '' then
    cost = graduated_cost(ARGV[11], whole_units(counter), whole_units(ARGV[14]))
    if cost > MAX_COST then return {'dear', integer(cost)} end
end

local used, units, limit = tonumber(counter or 0), account[12] and tonumber(ARGV[14]), tonumber(ARGV[15])
local is_beyond = units and limit and used + units > limit
local floor = ARGV[5] == '' and tonumber(account[9]) or tonumber(ARGV[5])
local is_short = cost > 0 and floor ~= nil and available - cost < floor
local open = tonumber(account[11] or 0)
local has_many = open >= tonumber(ARGV[17])
if is_beyond or is_short or has_many then
    local due = frozen and {} or redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', ARGV[1], 'LIMIT', 0, ARGV[18])
    if #due > 0 then return {'due', unpack(due)} end
    if has_many then return {'many'} end
    local outcome = '-' .. integer(cost) .. ':' .. integer(available)
    if is_beyond then
        outcome = '!' .. string.sub(outcome, 2) .. ':' .. integer(used) .. ':' .. ARGV[15] .. ':' .. account[13]
    end
    redis.call('HSET', KEYS[3], 'state', 'refused', 'asked', ARGV[6], 'opening', outcome)
    redis.call('PEXPIRE', KEYS[3], ARGV[9])
    return {'ok', outcome}
end
local accepted = (tonumber(account[4]) + cost) % MODULUS
local bound = beyond_bound(KEYS[2], accepted, applied, available - cost, tonumber(ARGV[10]))
if bound then return {bound} end

local due = integer(at + tonumber(ARGV[4]))
local outcome = '+' .. integer(cost) .. ':' .. integer(available - cost) .. ':' .. due
local entry = {'a', ARGV[7], 'k', 'r', 't', integer(at), 'r', account[1], 'c', integer(cost), 'p', ARGV[8], 'd', due}
local held = {'state', 'open', 'ref', ARGV[7], 'facts', ARGV[16], 'asked', ARGV[6], 'opening', outcome,
    'reserved', integer(cost), 'until', account[6], 'due', due}
if units then
    entry[15], entry[16] = 's', account[12]
    held[17], held[18], held[19], held[20] = 'units', ARGV[14], 'period', account[12]
end
local id = redis.call('XADD', KEYS[2], '*', unpack(entry))
redis.call('HSET', KEYS[1], 'accepted', integer(accepted), 'last_id', id, 'last_at', integer(at),
    'reserved', integer(tonumber(account[10] or 0) + cost), 'open', integer(open + 1))
redis.call('ZADD', KEYS[5], due_score(due, frozen), due_member(KEYS[3]))
if units then count_used(KEYS[4], ARGV[13], used + units) end
redis.call('HSET', KEYS[3], 'opened_id', id, unpack(held))
return {'ok', outcome}
