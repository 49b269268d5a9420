-- What remains at a moment of all blocks of a source.
SELECT coalesce(sum(b.remaining_micro), 0)::bigint AS held_micro
FROM credit_blocks b
WHERE b.environment_id = $1 AND b.account_id = $2 AND b.source = $3 AND b.live AND NOT b.is_scheduled
  AND (b.expires_at IS NULL OR b.expires_at > $4)
