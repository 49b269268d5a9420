-- What time it is for Postgres.
SELECT clock_timestamp() AS now
