-- Accounts, locked in the order of every writer.
SELECT a.id, a.posted_at, a.calendar, a.period_start_at, a.period_end_at, a.agenda_at, a.composed_until
FROM accounts a
WHERE a.environment_id = $1 AND a.id = ANY($2::uuid[])
ORDER BY a.environment_id, a.id
FOR UPDATE OF a
