-- Events that were told before $2 and that no endpoint has to be told of, or was told of lately; some at most. Those that are
-- being queued again are left out.
SELECT id FROM outbox o
WHERE environment_id = $1 AND relayed_at < $2
      AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.environment_id = $1 AND d.event_id = o.id)
ORDER BY relayed_at LIMIT $3
FOR UPDATE SKIP LOCKED
