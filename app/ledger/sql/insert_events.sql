-- Usage events of a batch, each with the blocks that it drew and the debt that it left.
INSERT INTO usage_events (environment_id, account_id, seq, id, feature_key, units_micro, cost_micro, debt_micro, draws,
                          price_id, idempotency_key, properties, occurred_at, accepted_at, recorded_at, period_at)
SELECT environment_id, account_id, seq, id, feature_key, units_micro, cost_micro, debt_micro, draws, price_id,
       idempotency_key, properties, timestamptz 'epoch' + occurred_at * interval '1 microsecond',
       timestamptz 'epoch' + accepted_at * interval '1 microsecond', $1,
       timestamptz 'epoch' + period_at * interval '1 microsecond'
FROM incoming_events
