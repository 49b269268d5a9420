-- These accounts have to be published at this revision or a later one.
INSERT INTO dirty_accounts (environment_id, account_id, revision)
SELECT $1, marked.account_id, marked.revision FROM unnest($2::uuid[], $3::bigint[]) AS marked (account_id, revision)
ON CONFLICT (environment_id, account_id) DO UPDATE SET revision = greatest(dirty_accounts.revision, excluded.revision)
