-- What became of subscriptions.
INSERT INTO subscription_history (environment_id, subscription_id, number, at, action, state_before, state_after,
    version_before, version_after, actor, reason, payment_reference, idempotency_key, variant_asked)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
                     $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[], $14::uuid[])
