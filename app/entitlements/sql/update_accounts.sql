-- The accounts' composition; the revision rises, since the edge has to hear of it.
UPDATE accounts a
SET revision = a.revision + 1, snapshot_id = composed.snapshot_id, subscription_status = composed.subscription_status
FROM unnest($2::uuid[], $3::text[], $4::text[]) AS composed (id, snapshot_id, subscription_status)
WHERE a.environment_id = $1 AND a.id = composed.id
RETURNING a.id, a.revision
