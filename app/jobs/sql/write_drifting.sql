-- Accounts that do not agree, and why; since when stays.
INSERT INTO drifting_accounts AS d (environment_id, account_id, findings, found_at)
SELECT f.environment_id, f.account_id, f.findings, $4
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS f (environment_id, account_id, findings)
ON CONFLICT (environment_id, account_id) DO UPDATE SET findings = excluded.findings
