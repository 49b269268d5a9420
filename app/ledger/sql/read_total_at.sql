-- The last transaction of an account that was posted at or before $3 (NULL = of all). Posting times do not go back and
-- numbers have no gaps (invariants 10 and 12), so it is found by halving, without an index on the time.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, a.seq FROM accounts a WHERE a.environment_id = $1 AND a.id = $2
    UNION ALL
    SELECT CASE WHEN at_or_before THEN middle ELSE low END, CASE WHEN at_or_before THEN high ELSE middle - 1 END
    FROM (
        SELECT s.low, s.high, t.seq AS middle, $3::timestamptz IS NULL OR t.posted_at <= $3 AS at_or_before
        FROM search s
        JOIN ledger_transactions t ON t.environment_id = $1 AND t.account_id = $2 AND t.seq = (s.low + s.high + 1) / 2
        WHERE s.low < s.high
    ) AS halved
)
SELECT t.seq, t.total_after_micro, t.posted_at
FROM search s
JOIN ledger_transactions t ON t.environment_id = $1 AND t.account_id = $2 AND t.seq = s.low
WHERE s.low = s.high
