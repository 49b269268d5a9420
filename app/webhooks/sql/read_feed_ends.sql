-- The place before the first event of the feed that is kept, and the last place.
SELECT coalesce((SELECT o.position - 1 FROM outbox o WHERE o.environment_id = $1 AND o.position IS NOT NULL
                 ORDER BY o.position LIMIT 1), last_position), last_position
FROM event_feeds WHERE environment_id = $1
