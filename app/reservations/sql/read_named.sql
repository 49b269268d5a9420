-- Reservations that the entries of a batch name, of accounts that the caller holds locked; ended ones too. Each as it was opened
-- last.
SELECT DISTINCT ON (r.environment_id, r.id)
       r.environment_id, r.account_id, r.id, r.feature_key, r.in_credits, r.units_micro, r.reserved_micro, r.debt_micro,
       r.draws, r.price_id, r.idempotency_key, r.properties, r.period_at, r.opened_at, r.opened_seq, r.expires_at, r.state,
       r.used_micro, r.ended_at, r.ended_seq
FROM reservations r
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
ORDER BY r.environment_id, r.id, r.opened_seq DESC
