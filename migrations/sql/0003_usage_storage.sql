-- Usage events of years: a partition for each month, a key for each event, a sum for each hour.
-- Why it is so: docs/decisions/0011-usage-events-by-month.md.

-- A flusher that knows no keys would post on, and what it posted could be charged again.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'quotastack_flusher') THEN
        RAISE EXCEPTION 'a flusher of an earlier version is at work' USING ERRCODE = 'object_in_use',
            HINT = 'Stop every flusher, then migrate. What comes meanwhile waits in Redis.';
    END IF;
END
$$;

ALTER TABLE usage_events RENAME TO usage_events_before;
ALTER INDEX usage_events_account RENAME TO usage_events_before_account;

-- No unique key here, since it would have to contain the month: usage_event_keys has it.
CREATE TABLE usage_events (
    environment_id   uuid NOT NULL,
    id               uuid NOT NULL,
    account_id       uuid NOT NULL,
    seq              bigint NOT NULL,
    feature_key      text NOT NULL,
    units_micro      bigint NOT NULL CHECK (units_micro > 0),
    cost_micro       bigint NOT NULL CHECK (cost_micro >= 0),
    debt_micro       bigint NOT NULL CHECK (debt_micro BETWEEN 0 AND cost_micro),
    draws            text NOT NULL,
    price_id         uuid NOT NULL,
    idempotency_key  text,
    properties       text,
    occurred_at      timestamptz NOT NULL,
    accepted_at      timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL
) PARTITION BY RANGE (accepted_at);
CREATE INDEX usage_events_account ON usage_events (environment_id, account_id, seq, id);
-- For the parts of an hour at the ends of a range. Events come about in the order in which they happened, so that a
-- summary of each run of pages finds them, and costs the writer nothing.
CREATE INDEX usage_events_occurred ON usage_events USING brin (environment_id, occurred_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- id is derived from scope and idempotency key, so the primary key is the dedupe, for ever. The other columns find the event.
CREATE TABLE usage_event_keys (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    account_id      uuid NOT NULL,
    seq             bigint NOT NULL,
    accepted_at     timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id)
) PARTITION BY HASH (id);

-- What was used in an hour (UTC, by occurred_at). The most that one event may have, 10^15 millionths, fits 64 bits only nine
-- thousand times; 38 digits hold 10^22 such events. No check forbids less than zero: an upsert tests the row that it proposes,
-- and what is taken back is proposed below zero. `ledger verify` compares each hour with its events.
CREATE TABLE usage_hours (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    feature_key     text NOT NULL,
    hour_at         timestamptz NOT NULL,
    units_micro     numeric(38, 0) NOT NULL,
    cost_micro      numeric(38, 0) NOT NULL,
    events          bigint NOT NULL,
    PRIMARY KEY (environment_id, account_id, feature_key, hour_at)
) WITH (fillfactor = 60);
CREATE INDEX usage_hours_hour ON usage_hours (environment_id, hour_at);

-- Retried and not rejected again since: NULL once more where it was.
ALTER TABLE rejected_events ADD COLUMN retried_at timestamptz;
CREATE INDEX rejected_events_recorded ON rejected_events (environment_id, recorded_at, id);

-- Rights --------------------------------------------------------------------------------------------------------------
GRANT SELECT ON usage_events, usage_event_keys, usage_hours TO quotastack_core;
GRANT UPDATE (retried_at) ON rejected_events TO quotastack_core;
GRANT SELECT, INSERT ON usage_events, usage_event_keys TO quotastack_flusher;
GRANT SELECT, INSERT, UPDATE ON usage_hours TO quotastack_flusher;
GRANT UPDATE (stream_id, code, detail, entry, recorded_at, retried_at) ON rejected_events TO quotastack_flusher;

-- What 0002 gives every table. Partitions inherit none of it: without a grant nobody reads one of them directly, and with
-- one they would see no more of it than of the whole.
CREATE FUNCTION secure_usage_table(usage_table regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own_rows constant text := 'environment_id = (SELECT nullif(current_setting(''app.environment_id'', true), '''')::uuid)';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', usage_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', usage_table);
    EXECUTE format('CREATE POLICY of_owner ON %s TO CURRENT_USER USING (true) WITH CHECK (true)', usage_table);
    EXECUTE format('CREATE POLICY of_core ON %s TO quotastack_core USING (%s) WITH CHECK (%2$s)', usage_table, own_rows);
    EXECUTE format('CREATE POLICY of_flusher ON %s TO quotastack_flusher USING (true) WITH CHECK (true)', usage_table);
END
$$;

CREATE FUNCTION write_usage_table_once(usage_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM CURRENT_USER', usage_table);
    EXECUTE format('CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', usage_table);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER written_once', usage_table);
END
$$;

-- The partition of the month (UTC) that a moment lies in; true where there was none. Attached rather than created in place:
-- that waits for no batch and no reader, and none of them for it.
CREATE FUNCTION make_usage_partition(moment timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    month constant timestamptz := date_trunc('month', moment);
    name constant text := 'usage_events_' || to_char(month, 'YYYYMM');
BEGIN
    -- From 1970 to where moments end (app/rules/moments.py), which bounds how many there can be.
    IF (moment BETWEEN '1970-01-01' AND '2255-12-31') IS NOT TRUE THEN
        RAISE EXCEPTION 'no usage event is accepted at %', moment USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE usage_events IN SHARE UPDATE EXCLUSIVE MODE; -- as attaching does: of two makers one waits here
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING CONSTRAINTS)', name);
    PERFORM secure_usage_table(name::regclass), write_usage_table_once(name::regclass);
    EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, month, month + interval '1 month');
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION secure_usage_table, write_usage_table_once, make_usage_partition FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_usage_partition TO quotastack_flusher, quotastack_jobs;

DO $$
DECLARE
    partitions constant integer := 8;
    name text;
BEGIN
    PERFORM secure_usage_table('usage_hours');
    PERFORM secure_usage_table(parent), write_usage_table_once(parent)
    FROM unnest(ARRAY['usage_events', 'usage_event_keys']::regclass[]) AS parent;
    FOR number IN 0 .. partitions - 1 LOOP
        name := format('usage_event_keys_%s', number);
        EXECUTE format('CREATE TABLE %I PARTITION OF usage_event_keys FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
            name, partitions, number);
        PERFORM secure_usage_table(name::regclass), write_usage_table_once(name::regclass);
    END LOOP;
END
$$;

-- This month and the next three: as many ahead as jobs keep (PARTITIONS_AHEAD in app/jobs/partitions.py).
SELECT make_usage_partition(date_trunc('month', now(), 'UTC') + ahead * interval '1 month')
FROM generate_series(0, 3) AS ahead;

-- What there is -------------------------------------------------------------------------------------------------------
SELECT make_usage_partition(month)
FROM (SELECT DISTINCT date_trunc('month', accepted_at, 'UTC') AS month FROM usage_events_before) AS months;

INSERT INTO usage_event_keys (environment_id, id, account_id, seq, accepted_at)
SELECT environment_id, id, account_id, seq, accepted_at FROM usage_events_before;

INSERT INTO usage_events (environment_id, id, account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws,
                          price_id, idempotency_key, properties, occurred_at, accepted_at, recorded_at)
SELECT environment_id, id, account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws, price_id,
       idempotency_key, properties, occurred_at, accepted_at, recorded_at
FROM usage_events_before
ORDER BY occurred_at;

INSERT INTO usage_hours (environment_id, account_id, feature_key, hour_at, units_micro, cost_micro, events)
SELECT environment_id, account_id, feature_key, date_trunc('hour', occurred_at, 'UTC'), sum(units_micro), sum(cost_micro),
       count(*)
FROM usage_events_before
GROUP BY 1, 2, 3, 4;

DROP TABLE usage_events_before;
