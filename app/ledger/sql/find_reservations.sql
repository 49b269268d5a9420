-- Where these reservations stand, each as it was opened last; those that the ledger does not have are left out.
SELECT DISTINCT ON (r.environment_id, r.id) r.environment_id, r.id, r.state
FROM reservations r
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
ORDER BY r.environment_id, r.id, r.opened_seq DESC
