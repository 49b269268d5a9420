-- One account by id, locked.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.seq, a.total_micro, a.debt_micro, a.applied_micro,
       a.posted_at, a.head_hash, a.snapshot_id, a.subscription_status, a.calendar, a.period_start_at, a.period_end_at
FROM accounts a
WHERE a.environment_id = $1 AND a.id = $2
FOR UPDATE OF a
