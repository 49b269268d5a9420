-- Subscriptions as a batch leaves them. Those that have ended come first, so that they make place for others.
INSERT INTO subscriptions AS s (environment_id, id, customer_id, variant_id, variant_version_id, plan_kind, state, anchor_at,
    period_start_at, period_end_at, period_index, counted_from, is_free, trial_plan_id, set_aside, used_before, changes, rules,
    created_at, updated_at)
SELECT left_behind.*, $20::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::timestamptz[], $11::integer[], $12::timestamptz[], $13::boolean[], $14::uuid[],
            $15::text[], $16::text[], $17::integer[], $18::text[], $19::timestamptz[]) AS left_behind
ON CONFLICT (environment_id, id) DO UPDATE
SET variant_id = excluded.variant_id, variant_version_id = excluded.variant_version_id, state = excluded.state,
    anchor_at = excluded.anchor_at, period_start_at = excluded.period_start_at, period_end_at = excluded.period_end_at,
    period_index = excluded.period_index, counted_from = excluded.counted_from, set_aside = excluded.set_aside,
    used_before = excluded.used_before, changes = excluded.changes, rules = excluded.rules, updated_at = excluded.updated_at
