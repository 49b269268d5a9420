-- What is above our share is free.
UPDATE partition_leases SET lease_until = '-infinity'
WHERE owner = $1 AND lease_until > '-infinity' AND NOT partition = ANY($2::smallint[])
