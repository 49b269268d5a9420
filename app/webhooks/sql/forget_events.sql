-- Events that were told before $2 and that no endpoint has to be told of, or was told of lately; some at most.
WITH old AS (
    SELECT environment_id, id FROM outbox o
    WHERE environment_id = $1 AND relayed_at < $2
          AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.environment_id = $1 AND d.event_id = o.id)
    ORDER BY relayed_at LIMIT $3
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM outbox o USING old WHERE o.environment_id = old.environment_id AND o.id = old.id RETURNING 1
)
SELECT count(*) FROM gone
