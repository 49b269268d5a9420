-- Keep what is ours and take what is free, $4 partitions at most. A row that another transaction holds is left for the next time.
UPDATE partition_leases l
SET owner = $2, lease_until = clock_timestamp() + $3::interval
FROM (
    SELECT partition FROM partition_leases
    WHERE partition < $1 AND (owner = $2 OR lease_until < clock_timestamp())
    ORDER BY owner = $2 AND lease_until >= clock_timestamp() DESC, partition
    LIMIT $4
    FOR UPDATE SKIP LOCKED
) AS ours
WHERE l.partition = ours.partition
RETURNING l.partition
