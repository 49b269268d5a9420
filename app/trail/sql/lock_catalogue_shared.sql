-- Composing keeps the environment's catalogue as it is until the transaction ends.
SELECT pg_advisory_xact_lock_shared(hashtextextended('catalogue:' || $1::text, 0))
