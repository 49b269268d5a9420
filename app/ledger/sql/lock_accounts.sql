-- The accounts of a batch by end user, locked in the one order that every writer keeps.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.seq, a.total_micro, a.debt_micro, a.applied_micro,
       a.posted_at, a.head_hash, a.snapshot_id, a.subscription_status, a.reserved_micro, a.open_reservations,
       a.calendar, a.period_start_at, a.period_end_at, a.agenda_at, a.composed_until
FROM accounts a
JOIN unnest($1::uuid[], $2::text[]) AS asked (environment_id, end_user_id) USING (environment_id, end_user_id)
ORDER BY a.environment_id, a.id
FOR UPDATE OF a
