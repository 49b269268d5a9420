-- Every usage event of the transactions that read_all_transactions reads, in their order and by id, as its digest wants.
SELECT e.environment_id, e.account_id, e.seq, uuid_send(e.id), e.feature_key, e.units_micro, e.cost_micro, e.debt_micro,
       uuid_send(e.price_id), e.occurred_at, e.accepted_at, e.draws, e.properties, e.idempotency_key
FROM usage_events e
WHERE ($1::uuid[] IS NULL OR e.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR e.account_id = ANY($2))
ORDER BY e.environment_id, e.account_id, e.seq, e.id
