-- Which of these orders have been carried out or refused.
SELECT o.id
FROM ledger_orders o
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
