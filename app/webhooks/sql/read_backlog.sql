-- How many events have no place yet, how many deliveries wait in all, and since when the one that is due first is due.
SELECT (SELECT count(*) FROM outbox WHERE position IS NULL) AS unplaced,
       (SELECT coalesce(sum(waiting), 0)::bigint FROM webhook_queues) AS waiting,
       (SELECT min(q.due_at) FROM webhook_queues q
        JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
        WHERE e.enabled AND e.deleted_at IS NULL AND e.failing_since IS NULL AND q.claim IS NULL) AS due_since
