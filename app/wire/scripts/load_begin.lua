-- Begins to load an account: names the token and the end of the stream that the load has to respect.
--
-- KEYS  1 account  2 load token  3 meta  4 stream
-- ARGV  1 a new load token
-- Returns {'loaded'} where the account is there already, {'unready'} before the partition has an incarnation,
-- else {'begun', token, incarnation, last entry id of the stream or '0-0'}

if redis.call('EXISTS', KEYS[1]) == 1 then return {'loaded'} end
local incarnation = redis.call('HGET', KEYS[3], 'incarnation')
if not incarnation then return {'unready'} end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
redis.call('EXPIRE', KEYS[2], 60)
local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
return {'begun', redis.call('GET', KEYS[2]), incarnation, newest[1] and newest[1][1] or '0-0'}
