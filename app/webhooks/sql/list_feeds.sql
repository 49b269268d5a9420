-- Environments in which something happened, behind one of them.
SELECT environment_id FROM event_feeds WHERE environment_id > $1 ORDER BY environment_id LIMIT $2
