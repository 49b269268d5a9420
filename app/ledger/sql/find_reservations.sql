-- These reservations, each as often as it was opened; those that the ledger does not have are left out.
SELECT r.environment_id, r.id, r.opened_at, r.ended_at
FROM reservations r
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
