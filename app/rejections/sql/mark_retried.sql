-- The rejection of this entry was retried at $4, unless one since $5 is under way; nothing where another took its place.
UPDATE rejected_events SET retried_at = $4
WHERE environment_id = $1 AND id = $2 AND stream_id = $3 AND (retried_at IS NULL OR retried_at < $5)
RETURNING true
