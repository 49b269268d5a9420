-- Who is alive, in an order that is the same for all.
SELECT owner FROM flushers WHERE alive_until > clock_timestamp() ORDER BY owner
