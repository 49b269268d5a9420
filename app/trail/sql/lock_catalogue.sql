-- A change of the catalogue waits for every composition under way, and new ones wait for it.
SELECT pg_advisory_xact_lock(hashtextextended('catalogue:' || $1::text, 0))
