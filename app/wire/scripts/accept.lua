-- Takes one usage event in: decides, appends it to the stream, moves the account, remembers the answer. All or nothing.
--
-- KEYS  1 account  2 stream  3 seen  4 used
-- ARGV  1 now_at  2 snapshot id that the cost was worked out with  3 cost (micro-credits)  4 '1' to enforce
--       5 lowest balance an enforced event may leave, '' = the account's floor, '-' = none  6 fingerprint  7 account ref
--       8 payload  9 idempotency window (milliseconds)  10 most entries in the stream
--       11 units to count (micro-units), '' = they are not counted  12 hard limit of the period (micro-units), '' = none
--       13 feature that they are counted for
-- Returns one of
--   {'ok', outcome}        taken in (or refused for credit or the limit) now; outcome as remembered
--   {'seen', stored}       the key was used before; stored = length byte, fingerprint, outcome
--   {'miss'}               the account is not loaded
--   {'wait'}               the account is at a boundary; ask again
--   {'snapshot', id}       the cost was worked out with another snapshot than the account's
--   {'backlog'} {'full'} {'range'}   beyond a bound; nothing changed
-- An outcome is '+cost:available:overage' or, refused for credit, '-cost:available', or, refused for the limit,
-- '!cost:available:used:limit:resets_at'.
-- `seen` is written last: Lua has no rollback, and a mark without its entry would lose the event for good.

local stored = redis.call('GET', KEYS[3])
if stored then return {'seen', stored} end

local account = redis.call('HMGET', KEYS[1], 'revision', 'base', 'applied', 'accepted', 'last_at', 'valid_until',
    'ticked', 'snapshot', 'floor', 'period', 'resets_at')
if not account[1] then return {'miss'} end
local at = math.max(tonumber(ARGV[1]), tonumber(account[5]))
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[7], at, tonumber(account[6]), account[7], account[1]) then
    return {'wait'}
end
if account[8] ~= ARGV[2] then return {'snapshot', account[8]} end

local cost, applied = tonumber(ARGV[3]), tonumber(account[3])
local available = tonumber(account[2]) - signed_distance(tonumber(account[4]), applied)
local accepted = (tonumber(account[4]) + cost) % MODULUS
local units, limit = account[10] and tonumber(ARGV[11]), tonumber(ARGV[12])
local used = units and used_of(KEYS[4], ARGV[13])

local function remember(outcome)
    redis.call('SET', KEYS[3], string.char(#ARGV[6]) .. ARGV[6] .. outcome, 'PX', ARGV[9])
    return {'ok', outcome}
end

if ARGV[4] == '1' and units and limit and used + units > limit then
    return remember('!' .. integer(cost) .. ':' .. integer(available) .. ':' .. integer(used) .. ':' .. ARGV[12] .. ':'
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
append_usage(KEYS[1], KEYS[2], ARGV[7], at, account[1], ARGV[3], ARGV[8], accepted, units and account[10])
if units then count_used(KEYS[4], ARGV[13], used + units) end
return remember('+' .. integer(cost) .. ':' .. integer(available - cost) .. ':' .. integer(overage))
