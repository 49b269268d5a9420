-- Whatever waits for an endpoint that is enabled again is due. Queues are locked in one order.
UPDATE webhook_queues q SET due_at = $3
FROM (
    SELECT end_user_id FROM webhook_queues
    WHERE environment_id = $1 AND endpoint_id = $2 AND claim IS NULL AND due_at > $3
    ORDER BY end_user_id
    FOR UPDATE
) AS waiting
WHERE q.environment_id = $1 AND q.endpoint_id = $2 AND q.end_user_id = waiting.end_user_id
