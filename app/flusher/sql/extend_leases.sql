-- Keep what is ours, and take nothing.
UPDATE partition_leases SET lease_until = clock_timestamp() + $2::interval
WHERE owner = $1 AND lease_until > clock_timestamp()
