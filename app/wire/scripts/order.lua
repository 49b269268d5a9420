-- Leaves an order of core's in the stream. Until a publish that includes it the account stands at a boundary: nobody
-- decides anything by figures that the order is about to change. `ordered_id` stays: what was reserved before the order may
-- have to be given back in another way than it was taken (end_reservation.lua).
--
-- KEYS  1 account  2 stream
-- ARGV  1 now_at  2 account ref  3 payload
-- Returns 'ok' | 'miss' (not loaded)

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'frozen')
if not account[1] then return 'miss' end
local at = integer(clock_of(ARGV[1], account[2], account[3]))
local id = redis.call('XADD', KEYS[2], '*', 'a', ARGV[2], 'k', 'o', 't', at, 'r', account[1], 'c', '0', 'p', ARGV[3])
redis.call('HSET', KEYS[1], 'last_id', id, 'last_at', at, 'order_id', id, 'ordered_id', id, 'valid_until', '0',
    'ticked', account[1])
return 'ok'
