-- Reads an account and what is held of gauges, at one moment.
--
-- KEYS  1 account  2 gauge  3 when holders' time is over
-- ARGV  1 now_at  2 how many fields of the account are read, then their names, then features
-- Returns {values of the fields, units held of each feature}; a value that there is not is nil

local fields = tonumber(ARGV[2])
local account = redis.call('HMGET', KEYS[1], unpack(ARGV, 3, 2 + fields))
if #ARGV == 2 + fields then return {account, {}} end
local clock = redis.call('HMGET', KEYS[1], 'last_at', 'frozen')
if clock[1] then free_overdue(KEYS[2], KEYS[3], clock_of(ARGV[1], clock[1], clock[2])) end
return {account, redis.call('HMGET', KEYS[2], unpack(ARGV, 3 + fields))}
