-- One process at a time gives places in feeds: who waits would only find nothing left.
SELECT pg_try_advisory_xact_lock(hashtextextended('relay', 0))
