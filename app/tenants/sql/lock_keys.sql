-- Changes of an environment's keys come one after the other: each looks at how many there are, and which are left.
SELECT pg_advisory_xact_lock(hashtextextended('api_keys:' || $1::uuid::text, 0))
