-- The account of a customer, where there is none yet. Its snapshot is composed before the transaction commits.
INSERT INTO accounts (environment_id, id, end_user_id, revision, seq, total_micro, debt_micro, applied_micro, posted_at,
                      head_hash, subscription_status, created_at)
VALUES ($1, $2, $3, 0, 0, 0, 0, 0, $4, $5, 'none', $4)
ON CONFLICT DO NOTHING
