-- Events behind the place $2, up to $3; a filter of NULL does not narrow it.
SELECT id, type, end_user_id, sequence, created_at, relayed_at, data::text, position FROM outbox
WHERE environment_id = $1 AND position > $2 AND position <= $3 AND ($4::text IS NULL OR type = $4)
      AND ($5::text IS NULL OR end_user_id = $5)
ORDER BY position LIMIT $6
