-- Snapshots by their content; equal ones are there already.
INSERT INTO snapshots (environment_id, id, content, created_at)
SELECT $1, snapshot.id, snapshot.content, $4
FROM unnest($2::text[], $3::bytea[]) AS snapshot (id, content)
ON CONFLICT DO NOTHING
