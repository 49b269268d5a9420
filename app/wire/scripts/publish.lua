-- Brings the ledger's figures to a loaded account. Late and repeated publishes do nothing.
--
-- KEYS  1 account  2 load token  3 meta
-- ARGV  1 revision  2 base  3 applied (modulo 2^52)  4 valid_until  5 snapshot id  6 subscription status  7 floor
--       8 posted_at: no decision is dated before this  9 incarnation of the cursor ('' = none)
--       10 cursor: everything at or before this entry is in these figures  11 a new load token
-- Returns 'published' | 'stale' | 'absent'
-- Absent: a load that is under way has older figures than these, so its token is changed and it starts again.

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_id', 'last_at')
if not account[1] then
    redis.call('SET', KEYS[2], ARGV[11], 'XX', 'EX', 60)
    return 'absent'
end
if tonumber(ARGV[1]) <= tonumber(account[1]) then return 'stale' end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'base', ARGV[2], 'applied', ARGV[3], 'valid_until', ARGV[4],
    'snapshot', ARGV[5], 'status', ARGV[6], 'floor', ARGV[7],
    'last_at', integer(math.max(tonumber(ARGV[8]), tonumber(account[3]))))
-- Quiet heals: where nothing of this account is under way, accepted is what was applied.
if ARGV[9] ~= '' and ARGV[9] == redis.call('HGET', KEYS[3], 'incarnation') and id_at_least(ARGV[10], account[2]) then
    redis.call('HSET', KEYS[1], 'accepted', ARGV[3])
end
return 'published'
