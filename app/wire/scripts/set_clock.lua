-- Has the test clock of an account stand at a moment, never before the one at which it stands, and leaves a tick in the stream
-- where that brings the account to its boundary.
--
-- KEYS  1 account  2 stream  3 load token
-- ARGV  1 the moment  2 account ref  3 a new load token
-- Returns 'miss' (not loaded; a load under way may have read another moment, so it starts again)
--   | 'wait' (a tick is under way) | 'early' (nothing is due)

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'valid_until', 'ticked', 'frozen')
if not account[1] then
    redis.call('SET', KEYS[3], ARGV[3], 'XX', 'EX', 60)
    return 'miss'
end
local frozen = integer(math.max(tonumber(ARGV[1]), tonumber(account[5] or 0)))
redis.call('HSET', KEYS[1], 'frozen', frozen)
local at = clock_of(frozen, account[2], frozen)
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[2], at, tonumber(account[3]), account[4], account[1]) then return 'wait' end
return 'early'
