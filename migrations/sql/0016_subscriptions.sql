-- Subscriptions live by themselves: the flusher moves them, in its place in the stream. Why it is so:
-- docs/decisions/0022-subscriptions-in-the-stream.md.

-- A flusher that knows nothing of an agenda would leave it behind, and edges would wait for it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'quotastack_flusher') THEN
        RAISE EXCEPTION 'a flusher of an earlier version is at work' USING ERRCODE = 'object_in_use',
            HINT = 'Stop every flusher, then migrate. What comes meanwhile waits in Redis.';
    END IF;
END
$$;

ALTER TABLE subscriptions
    ADD COLUMN plan_kind          text NOT NULL DEFAULT 'base' CHECK (plan_kind IN ('base', 'addon')),
    -- It is on what was the environment's free plan when it was made.
    ADD COLUMN is_free            boolean NOT NULL DEFAULT false,
    -- The plan of which the customer has had the trial with it: there is one of each plan.
    ADD COLUMN trial_plan_id      uuid,
    -- Blocks that a pause has taken out of the balance, JSON.
    ADD COLUMN set_aside          text NOT NULL DEFAULT '[]',
    -- What had been used in the hour in which the present period began, when it began: JSON, not part of the period.
    ADD COLUMN used_before        text NOT NULL DEFAULT '[]',
    ADD COLUMN period_index       integer NOT NULL DEFAULT 0,
    -- Where the counting of units began in the present period: a pause moves the period, and not this.
    ADD COLUMN counted_from       timestamptz,
    -- What has been written of it in its history.
    ADD COLUMN changes            integer NOT NULL DEFAULT 0,
    -- The subscription as the rules see it (app/rules/subscriptions.py), JSON. The columns say of it what is looked for.
    ADD COLUMN rules              text,
    ADD COLUMN updated_at         timestamptz,
    DROP CONSTRAINT subscriptions_check,
    ADD CHECK (period_end_at >= period_start_at),
    ADD CHECK (period_end_at > period_start_at OR state IN ('scheduled', 'canceled'));

-- Those that were made before have the terms of their version; periods of theirs are counted in UTC.
UPDATE subscriptions s SET
    counted_from = s.period_start_at,
    updated_at = s.created_at,
    rules = jsonb_build_object(
        'state', s.state, 'zone', 'UTC', 'period_index', 0, 'anchor_at', made.anchor,
        'period', jsonb_build_object('start_at', made.starts, 'end_at', made.ends),
        'terms', made.terms || jsonb_build_object('grants', coalesce(made.grants, '[]'::jsonb)),
        'cycles', coalesce(made.cycles, '[]'::jsonb))::text
FROM (
    SELECT o.environment_id, o.id, at.*, g.*, jsonb_build_object(
               'name', jsonb_build_object(
                   'plan_id', p.id, 'plan_key', p.key, 'plan_kind', p.kind, 'variant_id', w.id, 'variant_key', w.key,
                   'version_id', v.id, 'version', v.version), 'billing_mode', v.billing_mode, 'trial_days', v.trial_days,
               'interval', jsonb_build_object('unit', v.interval_unit, 'count', v.interval_count),
               'renewal_due_days', v.renewal_due_days, 'grace_period_days', v.grace_period_days) AS terms
    FROM subscriptions o
    JOIN plan_variant_versions v ON v.environment_id = o.environment_id AND v.id = o.variant_version_id
    JOIN plan_variants w ON w.environment_id = o.environment_id AND w.id = o.variant_id
    JOIN plans p ON p.environment_id = o.environment_id AND p.id = w.plan_id
    CROSS JOIN LATERAL (
        SELECT (extract(epoch FROM o.anchor_at) * 1000000)::bigint AS anchor,
               (extract(epoch FROM o.period_start_at) * 1000000)::bigint AS starts,
               (extract(epoch FROM o.period_end_at) * 1000000)::bigint AS ends
    ) AS at
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
                   'id', p.id, 'amount_micro', p.amount_micro, 'priority', p.priority,
                   'every', jsonb_build_object('unit', p.interval_unit, 'count', p.interval_count))) AS grants,
               jsonb_agg(jsonb_build_object(
                   'template_id', p.id, 'anchor_at', at.anchor, 'number', 0,
                   'present', jsonb_build_object('start_at', at.starts, 'end_at', at.ends))) AS cycles
        FROM plan_grants p WHERE p.environment_id = o.environment_id AND p.variant_version_id = o.variant_version_id
    ) AS g
) AS made
WHERE made.environment_id = s.environment_id AND made.id = s.id;
ALTER TABLE subscriptions
    ALTER COLUMN rules SET NOT NULL,
    ALTER COLUMN updated_at SET NOT NULL,
    ALTER COLUMN plan_kind DROP DEFAULT,
    ALTER COLUMN is_free DROP DEFAULT,
    ALTER COLUMN set_aside DROP DEFAULT,
    ALTER COLUMN used_before DROP DEFAULT,
    ALTER COLUMN period_index DROP DEFAULT,
    ALTER COLUMN changes DROP DEFAULT;

-- One base subscription at most is in force, and one at most is to come; any number of add-ons beside it.
DROP INDEX subscriptions_one_in_force;
CREATE UNIQUE INDEX subscriptions_one_in_force ON subscriptions (environment_id, customer_id)
    WHERE plan_kind = 'base' AND state IN ('trialing', 'active', 'paused', 'overdue');
CREATE UNIQUE INDEX subscriptions_one_scheduled ON subscriptions (environment_id, customer_id)
    WHERE plan_kind = 'base' AND state = 'scheduled';
CREATE INDEX subscriptions_of_customer ON subscriptions (environment_id, customer_id);

-- What became of each subscription, who did it and why; only ever added to.
CREATE TABLE subscription_history (
    environment_id   uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    number           integer NOT NULL CHECK (number > 0),
    at               timestamptz NOT NULL,
    action           text NOT NULL,
    state_before     text,
    state_after      text NOT NULL,
    version_before   uuid,
    version_after    uuid NOT NULL,
    actor            text NOT NULL,
    reason           text,
    payment_reference text,
    idempotency_key  text,
    PRIMARY KEY (environment_id, subscription_id, number),
    UNIQUE (environment_id, payment_reference),
    FOREIGN KEY (environment_id, subscription_id) REFERENCES subscriptions (environment_id, id)
);

-- When the customer's subscriptions next change by themselves, and until when the composition of the account holds (an
-- override ends); NULL = never. A period without a calendar is the subscription's, which turns it.
ALTER TABLE accounts
    ADD COLUMN agenda_at       timestamptz,
    ADD COLUMN composed_until  timestamptz,
    DROP CONSTRAINT accounts_check,
    ADD CHECK (num_nulls(period_start_at, period_end_at) IN (0, 2)),
    ADD CHECK (calendar IS NULL OR period_start_at IS NOT NULL);
UPDATE accounts a SET agenda_at = s.period_end_at, valid_until = least(a.valid_until, s.period_end_at)
FROM subscriptions s
WHERE s.environment_id = a.environment_id AND s.customer_id = a.id AND s.state NOT IN ('canceled', 'expired');

ALTER TABLE ledger_transactions DROP CONSTRAINT ledger_transactions_kind_check;
ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_kind_check CHECK (kind IN (
    'grant', 'usage', 'reservation_opened', 'reservation_committed', 'reservation_released', 'reservation_expired', 'expiry',
    'rollover', 'adjustment', 'refund', 'void', 'debt_payment', 'overage_billed', 'pause', 'resume'));

-- Orders move subscriptions too; these have no transaction of their own.
ALTER TABLE ledger_orders
    ADD COLUMN context text,
    DROP CONSTRAINT ledger_orders_kind_check,
    DROP CONSTRAINT ledger_orders_check,
    DROP CONSTRAINT ledger_orders_check1,
    ADD CONSTRAINT ledger_orders_kind_check CHECK (kind IN (
        'void_usage', 'void_grant', 'debit', 'bill_overage', 'subscribe', 'act')),
    ADD CHECK (code IS NULL OR seq IS NULL),
    ADD CHECK (code IS NOT NULL OR seq IS NOT NULL OR kind IN ('subscribe', 'act')),
    ADD CHECK ((kind IN ('void_usage', 'void_grant')) = (target_id IS NOT NULL));

-- Core gives orders; the flusher alone writes.
REVOKE INSERT, UPDATE ON subscriptions FROM quotastack_core;
GRANT INSERT ON subscriptions TO quotastack_flusher;
GRANT SELECT ON subscriptions TO quotastack_jobs;
GRANT SELECT ON subscription_history TO quotastack_core;
GRANT SELECT, INSERT ON subscription_history TO quotastack_flusher;
GRANT SELECT ON overrides TO quotastack_flusher;

ALTER TABLE subscription_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscription_history FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON subscription_history TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON subscription_history TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON subscription_history TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_flusher ON overrides TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON subscriptions TO quotastack_jobs USING (true) WITH CHECK (true);

REVOKE UPDATE, DELETE, TRUNCATE ON subscription_history FROM CURRENT_USER;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON subscription_history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE subscription_history ENABLE ALWAYS TRIGGER written_once;
