-- One account by id, locked.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.seq, a.total_micro, a.debt_micro, a.applied_micro,
       a.posted_at, a.head_hash, a.snapshot_id, a.subscription_status, a.reserved_micro, a.open_reservations,
       a.calendar, a.period_start_at, a.period_end_at, a.agenda_at, a.composed_until
FROM accounts a
WHERE a.environment_id = $1 AND a.id = $2
FOR UPDATE OF a
