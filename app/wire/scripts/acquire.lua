-- Has a holder hold so many units of a gauge, where that fits under the cap. A holder that holds already gets these units in
-- place of those it has, and a new time: so asking again is safe. It is not refused for holding what it holds, whatever the
-- cap has become. No boundary is waited for: no credit is looked at.
--
-- KEYS  1 account  2 stream  3 gauge  4 when holders' time is over
-- ARGV  1 now_at  2 snapshot id that the cap is from  3 account ref  4 feature  5 holder  6 units
--       7 for how long (microseconds; 0 = until it is released)  8 cap ('' = none)  9 payload
--       10 most entries in the stream  11 most holders
-- Returns one of
--   {'ok', units held by all holders, when this one's time is over (0 = not by itself)}
--   {'limit', units held by all holders}   it does not fit
--   {'holders'}                            there are as many as there may be
--   {'miss'}                               the account is not loaded
--   {'snapshot', id}                       the cap is from another snapshot than the account's
--   {'full'}                               beyond the stream's bound; nothing changed

local account = redis.call('HMGET', KEYS[1], 'revision', 'last_at', 'snapshot', 'frozen')
if not account[1] then return {'miss'} end
if account[3] ~= ARGV[2] then return {'snapshot', account[3]} end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[10]) then return {'full'} end
local at = clock_of(ARGV[1], account[2], account[4])
free_overdue(KEYS[3], KEYS[4], at)

local name = ARGV[4] .. '\0' .. ARGV[5]
local held = redis.call('HMGET', KEYS[3], ARGV[4], ARGV[4] .. '\0', name)
local used, holders, own = tonumber(held[1] or 0), tonumber(held[2] or 0), tonumber(held[3] or 0)
local more = tonumber(ARGV[6]) - own
if more > 0 and ARGV[8] ~= '' and used + more > tonumber(ARGV[8]) then return {'limit', used} end
if own == 0 and holders >= tonumber(ARGV[11]) then return {'holders'} end

local expires_at = ARGV[7] == '0' and 0 or at + tonumber(ARGV[7])
append_gauge(KEYS[1], KEYS[2], ARGV[3], at, account[1], ARGV[9], expires_at)
redis.call('HSET', KEYS[3], name, ARGV[6])
add_held(KEYS[3], ARGV[4], more, own == 0 and 1 or 0)
if expires_at > 0 then
    redis.call('ZADD', KEYS[4], integer(expires_at), name)
else
    redis.call('ZREM', KEYS[4], name)
end
return {'ok', used + more, expires_at}
