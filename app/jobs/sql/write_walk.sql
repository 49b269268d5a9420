-- The last walk through all accounts that came to its end.
INSERT INTO reconciliation AS r (began_at, ended_at, accounts) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE
SET began_at = excluded.began_at, ended_at = excluded.ended_at, accounts = excluded.accounts
WHERE r.ended_at < excluded.ended_at
