-- Counts requests of an API key, as far as the key and its environment have any left in a window.
--
-- KEYS  1 requests of the key in the window  2 those of its environment
-- ARGV  1 most of the key  2 most of the environment  3 requests that wait  4 most that are taken ahead of requests
--       5 part of what is left that goes ahead, as its divisor  6 seconds that the counters are kept
-- Returns {how many are granted, left of the key, left of the environment}. Those that wait come first.

local function left_of(counter, most)
    return math.max(0, tonumber(most) - tonumber(redis.call('GET', counter) or 0))
end

local key_left, tenant_left = left_of(KEYS[1], ARGV[1]), left_of(KEYS[2], ARGV[2])
local left = math.min(key_left, tenant_left)
local granted = math.min(tonumber(ARGV[3]), left)
granted = granted + math.min(tonumber(ARGV[4]), math.floor((left - granted) / tonumber(ARGV[5])))
if granted > 0 then
    for _, counter in ipairs(KEYS) do
        redis.call('INCRBY', counter, integer(granted))
        redis.call('EXPIRE', counter, ARGV[6])
    end
end
return {granted, key_left - granted, tenant_left - granted}
