-- Leaves a tick in the stream where the account's boundary has been reached, so that the flusher posts what is due.
--
-- KEYS  1 account  2 stream
-- ARGV  1 now_at  2 account ref
-- Returns 'miss' (not loaded) | 'wait' (a tick is under way) | 'early' (nothing is due)

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'valid_until', 'ticked', 'frozen')
if not account[1] then return 'miss' end
local at = clock_of(ARGV[1], account[2], account[5])
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[2], at, tonumber(account[3]), account[4], account[1]) then
    return 'wait'
end
return 'early'
