-- A page of accounts, in their order.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.seq, a.total_micro, a.debt_micro, a.applied_micro,
       a.posted_at, a.head_hash, a.snapshot_id, a.subscription_status
FROM accounts a
WHERE (a.environment_id, a.id) > ($1, $2) AND ($3::uuid IS NULL OR a.environment_id = $3)
  AND ($4::text IS NULL OR a.end_user_id = $4)
ORDER BY a.environment_id, a.id
LIMIT $5
