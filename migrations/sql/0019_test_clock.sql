-- A sandbox environment may have a clock of its own, which stands still until it is moved on. Why it is so:
-- docs/decisions/0021-test-clock.md.

ALTER TABLE environments ADD UNIQUE (id, kind);
CREATE TABLE test_clocks (
    environment_id  uuid PRIMARY KEY,
    -- So that none can have one that is live.
    kind            text NOT NULL DEFAULT 'sandbox' CHECK (kind = 'sandbox'),
    frozen_at       timestamptz NOT NULL,
    -- While it is on its way: from where, and to where. What falls due until then may not be posted yet.
    advanced_from   timestamptz,
    advancing_to    timestamptz,
    created_at      timestamptz NOT NULL,
    CHECK (num_nulls(advanced_from, advancing_to) IN (0, 2)),
    CHECK (frozen_at BETWEEN advanced_from AND advancing_to),
    FOREIGN KEY (environment_id, kind) REFERENCES environments (id, kind)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON test_clocks TO quotastack_core;
GRANT SELECT ON test_clocks TO quotastack_flusher, quotastack_jobs;

ALTER TABLE test_clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE test_clocks FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON test_clocks TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON test_clocks TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON test_clocks TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON test_clocks TO quotastack_jobs USING (true) WITH CHECK (true);

-- Whoever comes with a key is told what time it is there, in the same round trip.
DROP FUNCTION authenticate_key;
CREATE FUNCTION authenticate_key(wanted_digest bytea)
    RETURNS TABLE (environment_id uuid, environment_kind text, key_id uuid, scopes text[], expires_at timestamptz,
                   frozen_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT environments.id, environments.kind, api_keys.id, api_keys.scopes, api_keys.expires_at, test_clocks.frozen_at
    FROM api_keys JOIN environments ON environments.id = api_keys.environment_id
    LEFT JOIN test_clocks ON test_clocks.environment_id = environments.id
    WHERE api_keys.digest = wanted_digest AND api_keys.revoked_at IS NULL
$$;
REVOKE ALL ON FUNCTION authenticate_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_key TO quotastack_core;
