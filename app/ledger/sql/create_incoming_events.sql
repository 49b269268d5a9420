-- Where a batch's usage events arrive, in the order of `PostedEvent`; moments are microseconds since 1970.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_events (
    environment_id uuid, account_id uuid, seq bigint, id uuid, feature_key text, units_micro bigint, cost_micro bigint,
    debt_micro bigint, draws text, price_id uuid, idempotency_key text, properties text, occurred_at bigint,
    accepted_at bigint, period_at bigint
) ON COMMIT DELETE ROWS
