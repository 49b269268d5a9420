-- Whoever adds an endpoint or a replay comes after the other, so that each counts what the one before it made.
SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints:' || $1::text, 0))
