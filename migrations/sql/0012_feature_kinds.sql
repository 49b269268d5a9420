-- Features that are not metered have a value (JSON as text, so that it stays as it was sent): by default, or in a version of a
-- plan variant. NULL = none.
ALTER TABLE features
    DROP CONSTRAINT features_kind_check,
    ADD CONSTRAINT features_kind_check CHECK (kind IN ('metered', 'boolean', 'static', 'gauge')),
    ADD COLUMN default_value text CHECK (octet_length(default_value) <= 4096),
    ADD CHECK (kind <> 'metered' OR default_value IS NULL);
ALTER TABLE plan_features ADD COLUMN value text CHECK (octet_length(value) <= 4096);

-- What customers hold of their gauges, as the flusher has read it in the stream. A holder that has released, or whose time is
-- over, stays for a while, so that an older entry that is read once more cannot bring it back.
CREATE TABLE gauge_holds (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    feature_key     text NOT NULL,
    holder          text NOT NULL CHECK (char_length(holder) BETWEEN 1 AND 256),
    -- 0 = released.
    units           bigint NOT NULL CHECK (units >= 0),
    -- NULL = until it is released.
    expires_at      timestamptz,
    -- Accepted time of the entry that made the row what it is; an older one changes nothing.
    changed_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, account_id, feature_key, holder),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);
CREATE INDEX gauge_holds_over ON gauge_holds (changed_at) WHERE units = 0 OR expires_at IS NOT NULL;

GRANT SELECT ON gauge_holds TO quotastack_core;
GRANT SELECT, INSERT, UPDATE ON gauge_holds TO quotastack_flusher;
GRANT SELECT, DELETE ON gauge_holds TO quotastack_jobs;

ALTER TABLE gauge_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE gauge_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON gauge_holds TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON gauge_holds TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON gauge_holds TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON gauge_holds TO quotastack_jobs USING (true) WITH CHECK (true);
