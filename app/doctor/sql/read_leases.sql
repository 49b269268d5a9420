-- Partitions of which nobody is posting, and flushers that are at work.
SELECT (SELECT count(*) FROM partition_leases) AS leases,
       (SELECT count(*) FROM partition_leases WHERE lease_until < clock_timestamp()) AS free,
       (SELECT count(*) FROM flushers WHERE alive_until >= clock_timestamp()) AS flushers
