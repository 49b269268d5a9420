-- Installs an account whose figures were read after everything in the stream had been posted.
--
-- KEYS  1 account  2 load token  3 meta  4 due
-- ARGV  1 token  2 incarnation  3 revision  4 base  5 applied (modulo 2^52)  6 valid_until  7 snapshot id
--       8 subscription status  9 floor  10 posted_at: no decision is dated before this
--       11 what it has beside its credit ('' = nothing; see bring_beside)  12 account ref
--       13 where its test clock stands ('' = it has none),
--       then of each open reservation  1 its member of `due`  2 facts  3 reserved (micro-credits)  4 when it falls due
--       5 units that its opening counted (micro-units)  6 the period in which it did; both are '' where it did not
--       last: MessagePack of what is held of gauges, [[feature, holder, units, until when (0 = no end)], ...]; '' = nothing
-- Returns 'loaded' | 'present' (there by now) | 'refused' (something happened meanwhile: begin again)

if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('HGET', KEYS[3], 'incarnation') ~= ARGV[2] then
    return 'refused'
end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'present' end

-- `until` 0: what comes back at their end, the ledger says (end_reservation.lua).
local reserved = 0
for number = 14, #ARGV - 1, 6 do
    local member, facts, amount, due, units, period = unpack(ARGV, number, number + 5)
    local key = string.gsub(KEYS[4], 'due$', 'rsv:') .. member
    redis.call('HSET', key, 'state', 'open', 'ref', ARGV[12], 'facts', facts, 'reserved', amount, 'until', '0', 'due', due)
    if period ~= '' then redis.call('HSET', key, 'units', units, 'period', period) end
    redis.call('PERSIST', key)
    redis.call('ZADD', KEYS[4], due_score(due, ARGV[13] ~= ''), member)
    reserved = reserved + tonumber(amount)
end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'base', ARGV[4], 'applied', ARGV[5], 'accepted', ARGV[5],
    'last_id', '0-0', 'last_at', ARGV[10], 'valid_until', ARGV[6], 'ticked', '0', 'snapshot', ARGV[7],
    'status', ARGV[8], 'floor', ARGV[9])
if ARGV[13] ~= '' then redis.call('HSET', KEYS[1], 'frozen', ARGV[13]) end
redis.call('DEL', KEYS[2], used_key_of(KEYS[1]))
bring_beside(KEYS[1], ARGV[11], true, {})
redis.call('HSET', KEYS[1], 'reserved', integer(reserved), 'open', integer((#ARGV - 14) / 6))

local gauge_key = string.gsub(KEYS[1], ':acct:', ':gauge:', 1)
local due_key = string.gsub(KEYS[1], ':acct:', ':gaugedue:', 1)
redis.call('DEL', gauge_key, due_key)
for _, hold in ipairs(ARGV[#ARGV] == '' and {} or cmsgpack.unpack(ARGV[#ARGV])) do
    local name = hold[1] .. '\0' .. hold[2]
    redis.call('HSET', gauge_key, name, integer(hold[3]))
    add_held(gauge_key, hold[1], hold[3], 1)
    if hold[4] > 0 then redis.call('ZADD', due_key, integer(hold[4]), name) end
end
return 'loaded'
