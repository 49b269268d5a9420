-- Keys were used. In one order, so that two who write it down do not wait for each other.
WITH used AS (
    SELECT k.environment_id, k.id, u.used_at
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u (environment_id, id, used_at)
    JOIN api_keys k ON k.environment_id = u.environment_id AND k.id = u.id
    WHERE k.last_used_at IS NULL OR k.last_used_at < u.used_at
    ORDER BY k.environment_id, k.id
    FOR UPDATE OF k
)
UPDATE api_keys k SET last_used_at = used.used_at
FROM used
WHERE k.environment_id = used.environment_id AND k.id = used.id
