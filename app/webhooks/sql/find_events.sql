-- Events of the feed by their ids, in its order.
SELECT id, type, end_user_id, sequence, created_at, relayed_at, data::text, position FROM outbox
WHERE environment_id = $1 AND id = ANY ($2::uuid[]) AND position IS NOT NULL
ORDER BY position
