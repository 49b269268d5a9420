-- Shared by the scripts about gauges. The hash keeps of each feature what is held together, under `feature NUL` how many
-- holders there are, and under `feature NUL holder` what that one holds; the sorted set, when the time of holders is over.

local FREED_AT_ONCE = 1000

local function add_held(gauge_key, feature, units, holders)
    if redis.call('HINCRBY', gauge_key, feature .. '\0', holders) == 0 then
        redis.call('HDEL', gauge_key, feature, feature .. '\0')
    else
        redis.call('HINCRBY', gauge_key, feature, integer(units))
    end
end

-- These hold nothing any more; each of them does now.
local function free(gauge_key, due_key, names)
    local held = redis.call('HMGET', gauge_key, unpack(names))
    local units, holders = {}, {}
    for number, name in ipairs(names) do
        local feature = string.match(name, '^%Z+')
        units[feature] = (units[feature] or 0) + tonumber(held[number])
        holders[feature] = (holders[feature] or 0) + 1
    end
    redis.call('HDEL', gauge_key, unpack(names))
    redis.call('ZREM', due_key, unpack(names))
    for feature, count in pairs(holders) do add_held(gauge_key, feature, -units[feature], -count) end
end

-- At the end of its time a holder holds nothing: nobody has to come by for that, whoever looks first puts it in the books.
local function free_overdue(gauge_key, due_key, at)
    while true do
        local names = redis.call('ZRANGEBYSCORE', due_key, '-inf', integer(at), 'LIMIT', 0, FREED_AT_ONCE)
        if #names == 0 then return end
        free(gauge_key, due_key, names)
    end
end

-- A change of a gauge goes into the stream like everything that must not be forgotten; it costs nothing.
local function append_gauge(account_key, stream_key, ref, at, revision, payload, expires_at)
    local entry = {'a', ref, 'k', 'g', 't', integer(at), 'r', revision, 'c', '0', 'p', payload}
    if expires_at > 0 then
        entry[13], entry[14] = 'd', integer(expires_at)
    end
    local id = redis.call('XADD', stream_key, '*', unpack(entry))
    redis.call('HSET', account_key, 'last_id', id, 'last_at', integer(at))
end
