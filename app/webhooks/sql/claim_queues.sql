-- Queues that are due, of the endpoint that has waited longest first: of each endpoint no more than there is room for ($6, $7;
-- $5 where nothing is said of it, one where it is failing), and no more of each environment ($9, $10; $8 where nothing is
-- said). So a backlog of one endpoint is never read through, and neither it nor its environment takes all slots from others.
-- Whoever takes a queue has it until $2; then it is due again.
WITH due AS MATERIALIZED (
    SELECT * FROM (
        SELECT e.environment_id, e.id, coalesce(n.room, $8::integer) AS environment_room, oldest.due_at,
               coalesce(b.room, CASE WHEN e.failing_since IS NULL THEN $5::integer ELSE 1 END) AS room,
               row_number() OVER (PARTITION BY e.environment_id ORDER BY oldest.due_at) AS place
        FROM webhook_endpoints e
        LEFT JOIN unnest($6::uuid[], $7::integer[]) AS b (id, room) ON b.id = e.id
        LEFT JOIN unnest($9::uuid[], $10::integer[]) AS n (id, room) ON n.id = e.environment_id
        CROSS JOIN LATERAL (
            SELECT q.due_at FROM webhook_queues q
            WHERE q.environment_id = e.environment_id AND q.endpoint_id = e.id AND q.due_at <= $1
            ORDER BY q.due_at LIMIT 1
        ) AS oldest
        WHERE e.enabled AND e.deleted_at IS NULL AND coalesce(b.room, 1) > 0
    ) AS waiting
    WHERE place <= environment_room
    ORDER BY due_at
    LIMIT $4
), taken AS MATERIALIZED (
    SELECT * FROM (
        SELECT q.*, due.environment_room, row_number() OVER (PARTITION BY q.environment_id ORDER BY due.due_at) AS place
        FROM due CROSS JOIN LATERAL (
            SELECT w.environment_id, w.endpoint_id, w.end_user_id FROM webhook_queues w
            WHERE w.environment_id = due.environment_id AND w.endpoint_id = due.id AND w.due_at <= $1
            ORDER BY w.due_at LIMIT due.room
            FOR UPDATE SKIP LOCKED
        ) AS q
    ) AS locked
    WHERE place <= environment_room
    LIMIT $4
)
UPDATE webhook_queues q SET due_at = $2, claim = $3
FROM taken t
WHERE q.environment_id = t.environment_id AND q.endpoint_id = t.endpoint_id AND q.end_user_id = t.end_user_id
RETURNING q.environment_id, q.endpoint_id, q.end_user_id
