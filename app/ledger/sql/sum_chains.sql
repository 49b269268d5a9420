-- Accounts of an environment that have transactions, and how many those are: seq runs without gap.
SELECT count(*) FILTER (WHERE a.seq > 0) AS accounts, coalesce(sum(a.seq), 0)::bigint AS transactions
FROM accounts a
WHERE a.environment_id = $1
