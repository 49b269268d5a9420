-- My leases still hold, and nobody takes them while this transaction lasts. The cursors are the ones that I read from.
SELECT l.partition, c.incarnation, c.last_id
FROM partition_leases l
LEFT JOIN stream_cursors c ON c.partition = l.partition
WHERE l.partition = ANY($1::smallint[]) AND l.owner = $2 AND l.lease_until > clock_timestamp()
ORDER BY l.partition
FOR SHARE OF l
