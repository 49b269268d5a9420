-- Units by period: what is counted, and how much of it there may be. Why it is so: docs/decisions/0018-counting-units.md.

-- A flusher that counts nothing would leave counters behind what edges have counted, and periods that do not end.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'quotastack_flusher') THEN
        RAISE EXCEPTION 'a flusher of an earlier version is at work' USING ERRCODE = 'object_in_use',
            HINT = 'Stop every flusher, then migrate. What comes meanwhile waits in Redis.';
    END IF;
END
$$;

-- A double counts to 2^53 - 1, so no limit lies beyond (app/wire/scripts/common.lua).
ALTER TABLE features
    ADD COLUMN limit_units_micro bigint CHECK (limit_units_micro BETWEEN 0 AND 9007199254740991);
ALTER TABLE plan_features
    ADD COLUMN limit_units_micro bigint CHECK (limit_units_micro BETWEEN 0 AND 9007199254740991),
    ADD COLUMN overage_limit_micro bigint CHECK (overage_limit_micro BETWEEN 0 AND 9007199254740991);
ALTER TABLE plan_variant_versions
    ADD COLUMN overage_limit_micro bigint CHECK (overage_limit_micro BETWEEN 0 AND 9007199254740991);

-- NULL = nothing of the customer is counted. The calendar is JSON (app/rules/periods.py); the flusher turns the period.
ALTER TABLE accounts
    ADD COLUMN calendar         text,
    ADD COLUMN period_start_at  timestamptz,
    ADD COLUMN period_end_at    timestamptz,
    ADD CHECK (num_nulls(calendar, period_start_at, period_end_at) IN (0, 3)),
    ADD CHECK (period_end_at > period_start_at);

-- Start of the period in which the event's units were counted; NULL where they were not. A void takes them from there.
ALTER TABLE usage_events ADD COLUMN period_at timestamptz;

-- What was counted of a feature in a period that began then. As of usage_hours: 38 digits, and no check against less than zero.
CREATE TABLE usage_counters (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    period_at       timestamptz NOT NULL,
    feature_key     text NOT NULL,
    units_micro     numeric(38, 0) NOT NULL,
    PRIMARY KEY (environment_id, account_id, period_at, feature_key)
) WITH (fillfactor = 60);

GRANT SELECT ON usage_counters TO quotastack_core, quotastack_jobs;
GRANT SELECT, INSERT, UPDATE ON usage_counters TO quotastack_flusher;
SELECT secure_usage_table('usage_counters');
-- Jobs load accounts that nobody has in Redis.
CREATE POLICY of_jobs ON usage_counters TO quotastack_jobs USING (true) WITH CHECK (true);
