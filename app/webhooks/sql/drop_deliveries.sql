-- What waits in queues that are locked is no longer to be sent, $4 of each at most; the queues are shorter by it, and taken
-- from whoever has them: what comes of an attempt that is under way has no place any more.
WITH gone AS (
    DELETE FROM webhook_deliveries d
    USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (environment_id, endpoint_id, end_user_id)
    CROSS JOIN LATERAL (
        SELECT w.id FROM webhook_deliveries w
        WHERE w.environment_id = t.environment_id AND w.endpoint_id = t.endpoint_id AND w.end_user_id = t.end_user_id
              AND w.state = 'pending'
        ORDER BY w.place LIMIT $4
    ) AS first
    WHERE d.environment_id = t.environment_id AND d.id = first.id
    RETURNING d.environment_id, d.endpoint_id, d.end_user_id
), counted AS (
    SELECT environment_id, endpoint_id, end_user_id, count(*) AS dropped FROM gone GROUP BY 1, 2, 3
)
UPDATE webhook_queues q SET waiting = q.waiting - c.dropped, claim = NULL
FROM counted c
WHERE q.environment_id = c.environment_id AND q.endpoint_id = c.endpoint_id AND q.end_user_id = c.end_user_id
