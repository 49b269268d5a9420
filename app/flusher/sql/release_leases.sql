-- Let a successor take over at once.
UPDATE partition_leases SET lease_until = '-infinity' WHERE owner = $1
