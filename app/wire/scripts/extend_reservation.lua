-- Has a reservation fall due later; never earlier, and not once it is past due.
--
-- KEYS  1 account  2 stream  3 reservation  4 used  5 due
-- ARGV  1 now_at  2 how long it stays open from now (microseconds)  3 account ref  4 payload  5 most entries in the stream
-- Returns one of
--   {'ok', due}        when it falls due now
--   {'ended', state}   it has ended
--   {'due'}            it is past due: expire it
--   {'unknown'}        there is no such reservation here
--   {'miss'}           the account is not loaded
--   {'full'}           beyond a bound; nothing changed

local reservation = redis.call('HMGET', KEYS[3], 'state', 'due')
if not reservation[1] or reservation[1] == 'refused' then return {'unknown'} end
if reservation[1] ~= 'open' then return {'ended', reservation[1]} end
local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'frozen')
if not account[1] then return {'miss'} end
local at, due = clock_of(ARGV[1], account[2], account[3]), tonumber(reservation[2])
if at >= due then return {'due'} end
if at + tonumber(ARGV[2]) <= due then return {'ok', reservation[2]} end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then return {'full'} end

due = integer(at + tonumber(ARGV[2]))
local id = redis.call('XADD', KEYS[2], '*', 'a', ARGV[3], 'k', 'r', 't', integer(at), 'r', account[1], 'c', '0',
    'p', ARGV[4], 'd', due)
redis.call('HSET', KEYS[1], 'last_id', id, 'last_at', integer(at))
redis.call('ZADD', KEYS[5], due_score(due, account[3]), due_member(KEYS[3]))
redis.call('HSET', KEYS[3], 'due', due)
return {'ok', due}
