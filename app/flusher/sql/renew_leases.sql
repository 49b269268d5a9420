-- Take what is free and keep what is ours. A row that another transaction holds is left for the next time.
UPDATE partition_leases l
SET owner = $2, lease_until = clock_timestamp() + $3::interval
FROM (
    SELECT partition FROM partition_leases
    WHERE partition < $1 AND (owner = $2 OR lease_until < clock_timestamp())
    FOR UPDATE SKIP LOCKED
) AS free
WHERE l.partition = free.partition
RETURNING l.partition
