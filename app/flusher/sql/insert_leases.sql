-- A lease row for every partition, free until somebody takes it.
INSERT INTO partition_leases (partition, owner, lease_until)
SELECT partition, $2, '-infinity' FROM generate_series(0, $1::integer - 1) AS partition
ON CONFLICT DO NOTHING
