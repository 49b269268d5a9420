-- What is at or before the cursor has happened; what is after it has not.
INSERT INTO stream_cursors (partition, incarnation, last_id, updated_at)
SELECT cursor.partition, cursor.incarnation, cursor.last_id, $4
FROM unnest($1::smallint[], $2::uuid[], $3::text[]) AS cursor (partition, incarnation, last_id)
ON CONFLICT (partition) DO UPDATE
SET incarnation = excluded.incarnation, last_id = excluded.last_id, updated_at = excluded.updated_at
