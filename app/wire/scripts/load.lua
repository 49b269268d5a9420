-- Installs an account whose figures were read after everything in the stream had been posted.
--
-- KEYS  1 account  2 load token  3 meta
-- ARGV  1 token  2 incarnation  3 revision  4 base  5 applied (modulo 2^52)  6 valid_until  7 snapshot id
--       8 subscription status  9 floor  10 posted_at: no decision is dated before this
--       11 what it has beside its credit ('' = nothing; see bring_beside)
-- Returns 'loaded' | 'present' (there by now) | 'refused' (something happened meanwhile: begin again)

if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('HGET', KEYS[3], 'incarnation') ~= ARGV[2] then
    return 'refused'
end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'present' end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'base', ARGV[4], 'applied', ARGV[5], 'accepted', ARGV[5],
    'last_id', '0-0', 'last_at', ARGV[10], 'valid_until', ARGV[6], 'ticked', '0', 'snapshot', ARGV[7],
    'status', ARGV[8], 'floor', ARGV[9])
redis.call('DEL', KEYS[2], used_key_of(KEYS[1]))
bring_beside(KEYS[1], ARGV[11], true, {})
return 'loaded'
