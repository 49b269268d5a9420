-- Deliveries that ended before $3, some at most, with their attempts. Ids say when they were queued first: $2 is of $3.
WITH old AS (
    SELECT environment_id, id FROM webhook_deliveries
    WHERE environment_id = $1 AND id < $2 AND state <> 'pending' AND finished_at < $3
    ORDER BY id LIMIT $4
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM webhook_deliveries d USING old WHERE d.environment_id = old.environment_id AND d.id = old.id RETURNING 1
)
SELECT count(*) FROM gone
