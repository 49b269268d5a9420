-- Puts a reservation that has ended back, as the ledger knows it, so that a repeat of its end is answered. One that is here
-- is left as it is; of an opening that was refused, asked again after the window, the refusal stays beside what is put back.
--
-- KEYS  1 reservation
-- ARGV  1 how long it stays (milliseconds), then of each field of the hash its name and its value
-- Returns 'restored' | 'present'

local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'refused' then return 'present' end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'restored'
