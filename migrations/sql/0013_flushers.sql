-- Which flushers are at work, so that each knows how many partitions are its share. Why it is so: docs/decisions/0020-cluster.md.
-- Outside row-level security, as partition_leases is.
CREATE TABLE flushers (
    owner        uuid PRIMARY KEY,
    alive_until  timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON flushers TO quotastack_flusher;
