-- Brings the ledger's figures to accounts of one partition that are loaded. Late and repeated publishes do nothing.
--
-- KEYS  1 meta, then of each account  1 account  2 load token
-- ARGV  1 incarnation of the cursor ('' = none)  2 cursor: everything at or before this entry is in the figures
--       3 a new load token, then of each account  1 revision  2 base  3 applied (modulo 2^52)  4 valid_until
--       5 snapshot id  6 subscription status  7 floor  8 posted_at: no decision is dated before this
--       9 what it has beside its credit ('' = nothing; see bring_beside)
-- Returns for each account 'published' | 'stale' | 'absent'
-- Absent: a load that is under way has older figures than these, so its token is changed and it starts again.

local is_current = ARGV[1] ~= '' and ARGV[1] == redis.call('HGET', KEYS[1], 'incarnation')

-- The account waits for its order until a publish includes it. What others publish meanwhile keeps its boundary aside.
local function wait_for_order(account_key, order_id, valid_until)
    if is_current and id_at_least(ARGV[2], order_id) then
        redis.call('HDEL', account_key, 'order_id', 'held_until')
        return valid_until
    end
    redis.call('HSET', account_key, 'held_until', valid_until)
    return '0'
end

local function publish(account_key, token_key, revision, base, applied, valid_until, snapshot, status, floor, posted_at,
    beside)
    local account = redis.call('HMGET', account_key, 'revision', 'last_id', 'last_at', 'order_id', 'held_until',
        'reserved', 'open', 'period')
    if not account[1] then
        redis.call('SET', token_key, ARGV[3], 'XX', 'EX', 60)
        return 'absent'
    end
    if tonumber(revision) <= tonumber(account[1]) then
        -- Late, but it may say that the order is in the newer figures that are here.
        if account[5] then
            redis.call('HSET', account_key, 'valid_until', wait_for_order(account_key, account[4], account[5]))
        end
        return 'stale'
    end
    if account[4] then valid_until = wait_for_order(account_key, account[4], valid_until) end
    redis.call('HSET', account_key, 'revision', revision, 'base', base, 'applied', applied, 'valid_until', valid_until,
        'snapshot', snapshot, 'status', status, 'floor', floor,
        'last_at', integer(math.max(tonumber(posted_at), tonumber(account[3]))))
    -- Quiet heals: where nothing of this account is under way, accepted is what was applied.
    local is_quiet = is_current and id_at_least(ARGV[2], account[2])
    if is_quiet then redis.call('HSET', account_key, 'accepted', applied) end
    bring_beside(account_key, beside, is_quiet, {account[6], account[7], account[8]})
    return 'published'
end

local answers = {}
for number = 1, (#KEYS - 1) / 2 do
    local figures = 3 + 9 * (number - 1)
    answers[number] = publish(KEYS[2 * number], KEYS[2 * number + 1], unpack(ARGV, figures + 1, figures + 9))
end
return answers
