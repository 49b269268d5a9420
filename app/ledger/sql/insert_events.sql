-- Usage events of a batch, each with the blocks that it drew and the debt that it left.
INSERT INTO usage_events (environment_id, id, account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws,
                          price_id, idempotency_key, properties, occurred_at, accepted_at, recorded_at)
SELECT event.*, $15::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::text[], $10::uuid[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[]) AS event
