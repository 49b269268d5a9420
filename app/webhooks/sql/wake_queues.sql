-- Whatever waits for an endpoint that is enabled again is due.
UPDATE webhook_queues SET due_at = $3 WHERE environment_id = $1 AND endpoint_id = $2 AND claim IS NULL AND due_at > $3
