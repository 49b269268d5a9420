-- Which of these events and blocks are voided.
SELECT o.target_id
FROM ledger_orders o
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, target_id) USING (environment_id, target_id)
WHERE o.code IS NULL
