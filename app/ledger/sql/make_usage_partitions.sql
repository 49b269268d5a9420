-- Partitions for the months of these moments, where they are missing; how many that were.
SELECT count(*) FROM unnest($1::timestamptz[]) AS moment WHERE make_usage_partition(moment)
