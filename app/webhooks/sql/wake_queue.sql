-- A queue is due, unless somebody is at it.
UPDATE webhook_queues SET due_at = $4
WHERE environment_id = $1 AND endpoint_id = $2 AND end_user_id = $3 AND claim IS NULL AND due_at > $4
