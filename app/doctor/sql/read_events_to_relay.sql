-- Events from before $1 that have no place in their feed yet, a thousand at most, and since when.
SELECT count(*) AS events, min(created_at) AS since
FROM (SELECT o.created_at FROM outbox o WHERE o.position IS NULL AND o.created_at <= $1 ORDER BY o.arrival LIMIT 1000) AS waiting
