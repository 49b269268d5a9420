-- An account to be loaded, and the cursor of its partition at the same moment.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.total_micro, a.applied_micro, a.valid_until, a.posted_at, a.snapshot_id,
       a.subscription_status, a.reserved_micro, a.open_reservations, c.incarnation, c.last_id
FROM accounts a
LEFT JOIN stream_cursors c ON c.partition = $3
WHERE a.environment_id = $1 AND a.end_user_id = $2
