-- Puts a reservation that has ended back, as the ledger knows it, so that a repeat of its end is answered. One that is here
-- is left as it is.
--
-- KEYS  1 reservation
-- ARGV  1 how long it stays (milliseconds), then of each field of the hash its name and its value
-- Returns 'restored' | 'present'

if redis.call('EXISTS', KEYS[1]) == 1 then return 'present' end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'restored'
