-- Events that are locked, but for those that were queued again just before they were.
DELETE FROM outbox o
WHERE environment_id = $1 AND id = ANY ($2::uuid[])
      AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.environment_id = $1 AND d.event_id = o.id)
