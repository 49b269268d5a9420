-- Marks that a publish has caught up with.
DELETE FROM dirty_accounts d
USING unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS published (environment_id, account_id, revision)
WHERE d.environment_id = published.environment_id AND d.account_id = published.account_id
  AND d.revision <= published.revision
