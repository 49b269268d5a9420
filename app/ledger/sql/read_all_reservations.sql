-- Every reservation of the transactions that read_all_transactions reads, in their order: each with its opening.
SELECT r.environment_id, r.account_id, r.opened_seq, r.id, r.feature_key, r.in_credits, r.units_micro, r.reserved_micro,
       r.debt_micro, r.draws, r.price_id, r.idempotency_key, r.properties, r.period_at, r.opened_at, r.expires_at, r.state,
       r.used_micro, r.ended_at, r.ended_seq
FROM reservations r
WHERE ($1::uuid[] IS NULL OR r.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR r.account_id = ANY($2))
ORDER BY r.environment_id, r.account_id, r.opened_seq
