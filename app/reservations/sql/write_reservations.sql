-- Reservations of a batch, new ones and those that were extended or ended. What one is never changes.
INSERT INTO reservations (environment_id, account_id, id, feature_key, in_credits, units_micro, reserved_micro, debt_micro,
                          draws, price_id, idempotency_key, properties, period_at, opened_at, opened_seq, expires_at, state,
                          used_micro, ended_at, ended_seq)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::bigint[], $7::bigint[], $8::bigint[],
                     $9::text[], $10::uuid[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::bigint[],
                     $16::timestamptz[], $17::text[], $18::bigint[], $19::timestamptz[], $20::bigint[])
ON CONFLICT (environment_id, id, opened_seq) DO UPDATE
SET expires_at = excluded.expires_at, state = excluded.state, used_micro = excluded.used_micro,
    ended_at = excluded.ended_at, ended_seq = excluded.ended_seq
