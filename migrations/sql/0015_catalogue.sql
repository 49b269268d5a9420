-- A plan is what customers are on, or something that goes beside it.
ALTER TABLE plans ADD COLUMN kind text NOT NULL DEFAULT 'base' CHECK (kind IN ('base', 'addon'));

-- How a version is paid for, and what becomes of those who do not pay.
ALTER TABLE plan_variant_versions
    ADD COLUMN billing_mode text NOT NULL DEFAULT 'prepaid' CHECK (billing_mode IN ('prepaid', 'postpaid')),
    ADD COLUMN trial_days integer NOT NULL DEFAULT 0 CHECK (trial_days BETWEEN 0 AND 366),
    ADD COLUMN renewal_due_days integer NOT NULL DEFAULT 3 CHECK (renewal_due_days BETWEEN 0 AND 366),
    ADD COLUMN grace_period_days integer NOT NULL DEFAULT 3 CHECK (grace_period_days BETWEEN 0 AND 366),
    ADD COLUMN allow_usage_while_overdue boolean NOT NULL DEFAULT false,
    ADD COLUMN usable_while_paused boolean NOT NULL DEFAULT false;

-- The interval of a grant is its cycle. Credit lives to the end of the cycle, or for expires_after.
ALTER TABLE plan_grants
    ADD COLUMN once boolean NOT NULL DEFAULT false,
    ADD COLUMN expires_after_unit text CHECK (expires_after_unit IN ('day', 'week', 'month', 'year')),
    ADD COLUMN expires_after_count integer CHECK (expires_after_count BETWEEN 1 AND 366),
    ADD COLUMN rollover_percent smallint CHECK (rollover_percent BETWEEN 1 AND 100),
    ADD COLUMN rollover_cap_micro bigint CHECK (rollover_cap_micro > 0),
    ADD COLUMN accumulation_cap_micro bigint CHECK (accumulation_cap_micro >= amount_micro),
    ADD CHECK ((expires_after_unit IS NULL) = (expires_after_count IS NULL)),
    ADD CHECK (rollover_percent IS NOT NULL OR rollover_cap_micro IS NULL),
    ADD CHECK (rollover_percent IS NULL OR NOT once AND expires_after_unit IS NULL);
CREATE INDEX plan_grants_version ON plan_grants (environment_id, variant_version_id);

-- What a customer has of a feature in place of what the plan says; NULL = as the plan says.
CREATE TABLE overrides (
    environment_id       uuid NOT NULL,
    customer_id          uuid NOT NULL,
    feature_id           uuid NOT NULL,
    included             boolean,
    -- JSON as text, as it was sent.
    value                text CHECK (octet_length(value) <= 4096),
    sets_limit           boolean NOT NULL,
    -- Where sets_limit: NULL = none.
    limit_units_micro    bigint CHECK (limit_units_micro >= 0),
    overage_policy       text CHECK (overage_policy IN ('block', 'allow', 'notify')),
    -- Goes with the policy; NULL = none.
    overage_limit_micro  bigint CHECK (overage_limit_micro >= 0),
    -- NULL = until it is taken away.
    expires_at           timestamptz,
    updated_at           timestamptz NOT NULL,
    CHECK (sets_limit OR limit_units_micro IS NULL),
    CHECK (overage_policy <> 'block' AND overage_policy IS NOT NULL OR overage_limit_micro IS NULL),
    CHECK (sets_limit OR num_nonnulls(included, value, overage_policy) > 0),
    PRIMARY KEY (environment_id, customer_id, feature_id),
    FOREIGN KEY (environment_id, customer_id) REFERENCES customers (environment_id, id),
    FOREIGN KEY (environment_id, feature_id) REFERENCES features (environment_id, id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON overrides TO quotastack_core;

ALTER TABLE overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON overrides TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON overrides TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
