-- Has a holder hold nothing of a gauge any more.
--
-- KEYS  1 account  2 stream  3 gauge  4 when holders' time is over
-- ARGV  1 now_at  2 snapshot id that the caller knows the cap from  3 account ref  4 feature  5 holder  6 payload
--       7 most entries in the stream
-- Returns {'ok', 1 or 0 where it held nothing, units held by all holders}
--   | {'miss'} | {'snapshot', id} | {'full'}: as acquire.lua

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'snapshot', 'frozen')
if not account[1] then return {'miss'} end
if account[3] ~= ARGV[2] then return {'snapshot', account[3]} end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[7]) then return {'full'} end
local at = clock_of(ARGV[1], account[2], account[4])
free_overdue(KEYS[3], KEYS[4], at)

local name = ARGV[4] .. '\0' .. ARGV[5]
local holds = redis.call('HEXISTS', KEYS[3], name)
if holds == 1 then
    append_gauge(KEYS[1], KEYS[2], ARGV[3], at, account[1], ARGV[6], 0)
    free(KEYS[3], KEYS[4], {name})
end
return {'ok', holds, tonumber(redis.call('HGET', KEYS[3], ARGV[4]) or 0)}
