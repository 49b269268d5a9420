-- Twins with the same payment reference come one after the other, so that each sees what the one before it did.
SELECT pg_advisory_xact_lock(hashtextextended('payment:' || $1::text || ':' || $2::text, 0))
