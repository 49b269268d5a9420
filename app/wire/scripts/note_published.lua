-- Notes how far a partition was published, and trims what was flushed long ago. Does nothing to another incarnation.
--
-- KEYS  1 meta  2 stream
-- ARGV  1 incarnation  2 cursor: committed and published up to here  3 oldest entry that is kept  4 most entries that are
--       kept behind the cursor for the sake of age: beyond, age does not protect them
-- Returns 1, or 0 where the partition's memory is another by now

if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'published', ARGV[2])
redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])
if redis.call('XLEN', KEYS[2]) > tonumber(ARGV[4]) then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2]) end
return 1
