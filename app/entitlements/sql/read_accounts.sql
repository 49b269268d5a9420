-- What is published of accounts: all figures of one moment.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.total_micro, a.applied_micro, a.valid_until, a.posted_at, a.snapshot_id,
       a.subscription_status, a.reserved_micro, a.open_reservations
FROM accounts a
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
