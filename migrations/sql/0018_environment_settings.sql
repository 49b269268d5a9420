-- What a tenant has set for an environment; without a row everything has its default.
CREATE TABLE environment_settings (
    environment_id   uuid PRIMARY KEY REFERENCES environments (id),
    -- The free plan: customers fall back to it. NULL = there is none.
    free_variant_id  uuid,
    -- Whether an end user who is not known yet is put on it.
    auto_enroll      boolean NOT NULL CHECK (NOT auto_enroll OR free_variant_id IS NOT NULL),
    -- Since when: those whom the environment knew before are not.
    enrolling_since  timestamptz,
    -- Where a customer's credit is low, JSON: the list of app/rules/thresholds.py.
    thresholds       text NOT NULL CHECK (octet_length(thresholds) <= 4096),
    updated_at       timestamptz NOT NULL,
    CHECK (auto_enroll = (enrolling_since IS NOT NULL)),
    FOREIGN KEY (environment_id, free_variant_id) REFERENCES plan_variants (environment_id, id)
);

GRANT SELECT, INSERT, UPDATE ON environment_settings TO quotastack_core;
GRANT SELECT ON environment_settings TO quotastack_flusher, quotastack_jobs;

ALTER TABLE environment_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE environment_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON environment_settings TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON environment_settings TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON environment_settings TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON environment_settings TO quotastack_jobs USING (true) WITH CHECK (true);
