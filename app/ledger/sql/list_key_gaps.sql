-- Usage events without their key, and keys without their event.
SELECT coalesce(k.environment_id, e.environment_id) AS environment_id, coalesce(k.id, e.id) AS id,
       k.id IS NOT NULL AS has_key, e.id IS NOT NULL AS has_event
FROM usage_event_keys k
FULL JOIN usage_events e ON e.environment_id = k.environment_id AND e.id = k.id AND e.account_id = k.account_id
    AND e.seq = k.seq AND e.accepted_at = k.accepted_at
WHERE (k.id IS NULL OR e.id IS NULL) AND ($1::uuid IS NULL OR coalesce(k.environment_id, e.environment_id) = $1)
LIMIT $2
