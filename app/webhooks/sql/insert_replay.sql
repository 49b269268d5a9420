-- A range of the feed that is to be queued again.
INSERT INTO webhook_replays (environment_id, id, endpoint_id, event_types, next_position, last_position, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
