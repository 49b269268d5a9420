-- What Postgres is, and what of it has to be as it is. Connections are counted by database: of each single one, a role sees
-- what it is only where it is its own, or where the role may read all statistics.
SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS shown,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit, pg_is_in_recovery() AS is_standby,
       (SELECT sum(numbackends)::integer FROM pg_stat_database) AS connections,
       current_setting('max_connections')::integer AS most_connections
