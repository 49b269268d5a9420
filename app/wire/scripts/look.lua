-- Reads an account and what is held of gauges, at one moment.
--
-- KEYS  1 account  2 gauge  3 when holders' time is over
-- ARGV  1 now_at  2 how many fields of the account are read, then their names, then features
-- Returns {values of the fields, units held of each feature}; a value that there is not is nil

local fields = tonumber(ARGV[2])
local account = redis.call('HMGET', KEYS[1], unpack(ARGV, 3, 2 + fields))
if #ARGV == 2 + fields then return {account, {}} end
local last_at = redis.call('HGET', KEYS[1], 'last_at')
if last_at then free_overdue(KEYS[2], KEYS[3], math.max(tonumber(ARGV[1]), tonumber(last_at))) end
return {account, redis.call('HMGET', KEYS[2], unpack(ARGV, 3 + fields))}
