-- Takes a usage event in again whose entry the ledger has rejected. Whether and at what cost was decided when it first came.
--
-- KEYS  1 account  2 stream  3 retried  4 used
-- ARGV  1 now_at  2 cost (micro-credits)  3 account ref  4 payload  5 id of the rejected entry  6 how long that is remembered
--       (milliseconds)  7 most entries in the stream  8 units to count (micro-units), '' = they are not counted
--       9 feature that they are counted for
-- Returns 'retried' | 'again' (that entry was retried before) | 'miss' (the account is not loaded)
--   | 'wait' (the account is at a boundary; ask again) | 'backlog' | 'range' | 'full' (beyond a bound; nothing changed)
-- `retried` is written last: Lua has no rollback, and a mark without its entry would keep the event from being retried.

if redis.call('GET', KEYS[3]) == ARGV[5] then return 'again' end

local account = redis.call('HMGET', KEYS[1], 'revision', 'base', 'applied', 'accepted', 'last_at', 'valid_until', 'ticked',
    'period', 'frozen')
if not account[1] then return 'miss' end
local at = clock_of(ARGV[1], account[5], account[9])
if wait_at_boundary(KEYS[1], KEYS[2], ARGV[3], at, tonumber(account[6]), account[7], account[1]) then return 'wait' end

local cost, applied = tonumber(ARGV[2]), tonumber(account[3])
local available = tonumber(account[2]) - signed_distance(tonumber(account[4]), applied)
local accepted = (tonumber(account[4]) + cost) % MODULUS
local bound = beyond_bound(KEYS[2], accepted, applied, available - cost, tonumber(ARGV[7]))
if bound then return bound end

local units = account[8] and tonumber(ARGV[8]) -- counted when it first came, and something is counted still
append_usage(KEYS[1], KEYS[2], ARGV[3], at, account[1], ARGV[2], ARGV[4], accepted, units and account[8])
if units then count_used(KEYS[4], ARGV[9], used_of(KEYS[4], ARGV[9]) + units) end
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[6])
return 'retried'
