-- The last walk through all accounts, and those that do not agree.
SELECT (SELECT ended_at FROM reconciliation) AS walked_at, (SELECT accounts FROM reconciliation) AS accounts,
       (SELECT count(*) FROM drifting_accounts) AS adrift, (SELECT min(found_at) FROM drifting_accounts) AS since
