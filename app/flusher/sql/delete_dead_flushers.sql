-- Those that ended without a word. A row that somebody else holds is left for the next time.
DELETE FROM flushers
WHERE owner IN (SELECT owner FROM flushers WHERE alive_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
