-- Ends a reservation: commits, releases or expires it. The first end is the only one. One that is past due expires, whatever
-- was asked; a commit of one that has expired is usage, late, once.
--
-- KEYS  1 account  2 stream  3 reservation  4 used  5 due
-- ARGV  1 now_at  2 'committed' | 'released' | 'expired'  3 of a commit what was used costs
--       (micro-credits), where no tiers are given; else 0
--       4 what was asked, so that a repeat is known  5 account ref  6 payload of that end  7 payload of an expiry
--       8 payload of the usage that a late commit is, '' of another end  9 idempotency window (milliseconds)
--       10 most entries in the stream  11 tiers of a graduated price, packed, '' = the cost is given  12 feature key
--       13 units (micro-units) that a commit says, else 0; these two are '' where credits were reserved
--       14 facts and 15 reserved (micro-credits), as whoever asks knows them
-- Returns one of
--   {'ok', outcome}      ended now
--   {'again', outcome}   the same was asked before
--   {'ended', state}     it has ended otherwise
--   {'open'}             it is not past due, so it does not expire
--   {'apart'}            the same; it was opened before its account was on a test clock, and is named as due no more
--   {'unknown'}          there is no such reservation here
--   {'other'}            it was opened as something else: read it again
--   {'miss'}             the account is not loaded
--   {'dear', cost}       the tiers make it cost more than one event may; nothing changed
--   {'backlog'} {'full'} {'range'}   beyond a bound: what takes more credit than was reserved is bounded as usage is
-- An outcome is 'used:released:available:late', late = '1' for a late commit.
-- No end waits at a boundary: it decides nothing by the account's figures.
-- Where the opening counted its units, they count no more once it has ended, and those of a commit count in the account's
-- present period. What is counted of another period by now is the ledger's matter.

local HAS_ENDED = {committed = true, released = true, expired = true}
local reservation = redis.call('HMGET', KEYS[3], 'state', 'reserved', 'opened_id', 'until', 'due', 'ended_asked', 'ended',
    'late_asked', 'late', 'units', 'period', 'facts')
local state, verb, asked = reservation[1], ARGV[2], ARGV[4]
if state ~= 'open' and not HAS_ENDED[state] then
    redis.call('ZREM', KEYS[5], due_member(KEYS[3]))
    return {'unknown'}
end
if reservation[12] ~= ARGV[14] or reservation[2] ~= ARGV[15] then return {'other'} end
if state ~= 'open' and not (state == 'expired' and verb == 'committed') then
    if state == verb and reservation[6] == asked then return {'again', reservation[7]} end
    return {'ended', state}
end
if state == 'expired' and reservation[9] then
    if reservation[8] == asked then return {'again', reservation[9]} end
    return {'ended', state}
end

local account = redis.call('HMGET', KEYS[1], 'revision', 'base', 'applied', 'accepted', 'last_at', 'reserved', 'open',
    'ordered_id', 'valid_until', 'returned_until', 'period', 'frozen')
if not account[1] then return {'miss'} end
local at = clock_of(ARGV[1], account[5], account[12])
local applied, accepted = tonumber(account[3]), tonumber(account[4])
local available = tonumber(account[2]) - signed_distance(accepted, applied)

local period = reservation[11] and ARGV[12] ~= '' and account[11]
local own = state == 'open' and period and period == reservation[11] and tonumber(reservation[10]) or 0
local others, units = math.max(0, used_of(KEYS[4], ARGV[12]) - own), tonumber(ARGV[13]) or 0
local committed = tonumber(ARGV[3])
if ARGV[11] ~= '' then
    committed = graduated_cost(ARGV[11], whole_units(integer(others)), whole_units(ARGV[13]))
    if committed > MAX_COST then return {'dear', integer(committed)} end
end

local function remember(field, was_asked, used, released)
    local outcome = integer(used) .. ':' .. integer(released) .. ':' .. integer(available) .. ':'
        .. (field == 'late' and '1' or '0')
    redis.call('HSET', KEYS[3], 'state', state, field, outcome, field .. '_asked', was_asked)
    redis.call('PEXPIRE', KEYS[3], ARGV[9])
    return {'ok', outcome}
end

-- What comes back at once. Credit that has passed its account's boundary since, or an order, may have expired or be gone:
-- then the ledger says what of it comes back, with its next publish.
local function cost_of_end(used, reserved)
    local is_certain = at < tonumber(reservation[4])
        and not (account[8] and id_at_least(account[8], reservation[3]))
    if used < reserved and not is_certain then return 0 end
    return used - reserved
end

-- What came back at once can be spent until the boundary that it was reserved under. The ledger's own boundary does not
-- know of it yet, nor does any publish that comes before its return is posted (publish.lua).
local function keep_boundary(id)
    local until_at = math.min(tonumber(reservation[4]), tonumber(account[10] or NEVER_AT))
    redis.call('HSET', KEYS[1], 'valid_until', integer(math.min(tonumber(account[9]), until_at)), 'returned_id', id,
        'returned_until', integer(until_at))
end

if state == 'open' then
    local is_due, reserved = at >= tonumber(reservation[5]), tonumber(reservation[2])
    if verb == 'expired' and not is_due then
        local is_new = account[12] and redis.call('ZADD', KEYS[5], 'XX', 'CH', '+inf', due_member(KEYS[3])) == 1
        return {is_new and 'apart' or 'open'}
    end
    local used = not is_due and committed or 0
    local cost = cost_of_end(used, reserved)
    accepted, available = (accepted + cost) % MODULUS, available - cost
    local bound = cost > 0 and beyond_bound(KEYS[2], accepted, applied, available, tonumber(ARGV[10]))
    if bound then return {bound} end
    state = is_due and 'expired' or verb
    local entry = {'a', ARGV[5], 'k', 'r', 't', integer(at), 'r', account[1], 'c', integer(cost),
        'p', is_due and ARGV[7] or ARGV[6], 'u', integer(used)}
    if period and state == 'committed' then entry[15], entry[16] = 's', period end
    local id = redis.call('XADD', KEYS[2], '*', unpack(entry))
    redis.call('HSET', KEYS[1], 'accepted', integer(accepted), 'last_id', id, 'last_at', integer(at),
        'reserved', integer(math.max(0, tonumber(account[6] or 0) - reserved)),
        'open', integer(math.max(0, tonumber(account[7] or 0) - 1)))
    if period then count_used(KEYS[4], ARGV[12], state == 'committed' and others + units or others) end
    if cost < 0 then keep_boundary(id) end
    redis.call('ZREM', KEYS[5], due_member(KEYS[3]))
    local answer = remember('ended', state == verb and asked or '', used, math.max(0, reserved - used))
    if state == verb then return answer end
    if verb ~= 'committed' then return {'ended', state} end
end

accepted, available = (accepted + committed) % MODULUS, available - committed
local bound = beyond_bound(KEYS[2], accepted, applied, available, tonumber(ARGV[10]))
if bound then return {bound} end
append_usage(KEYS[1], KEYS[2], ARGV[5], at, account[1], integer(committed), ARGV[8], accepted, period)
if period then count_used(KEYS[4], ARGV[12], others + units) end
return remember('late', asked, committed, 0)
