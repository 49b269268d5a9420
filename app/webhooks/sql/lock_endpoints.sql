-- Endpoints, locked in one order against other changes until the transaction ends.
SELECT e.environment_id, e.id, e.url, e.enabled, e.failing_since
FROM unnest($1::uuid[], $2::uuid[]) AS t (environment_id, id)
JOIN webhook_endpoints e ON e.environment_id = t.environment_id AND e.id = t.id
ORDER BY e.environment_id, e.id
FOR NO KEY UPDATE OF e
