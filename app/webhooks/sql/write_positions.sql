-- Events have their places in their feeds.
UPDATE outbox o SET position = p.position, relayed_at = $4
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS p (environment_id, id, position)
WHERE o.environment_id = p.environment_id AND o.id = p.id
