-- Tenants make, rotate and revoke their keys themselves. How a change reaches the edges: docs/keys.md.

-- The defaults are what the two keys are that come with a tenant.
ALTER TABLE api_keys
    ADD COLUMN name text NOT NULL DEFAULT 'First key' CHECK (char_length(name) BETWEEN 1 AND 200),
    ADD COLUMN created_by text NOT NULL DEFAULT 'operator',
    ADD COLUMN last_used_at timestamptz,
    -- When it was last revoked or given another end; jobs look through these for what the edges were not told.
    ADD COLUMN changed_at timestamptz;
CREATE INDEX api_keys_changed ON api_keys (changed_at, id) WHERE changed_at IS NOT NULL;

-- Of an environment that is set, core sees the keys, and adds some. What a key is and may do never changes.
GRANT SELECT, INSERT ON api_keys TO quotastack_core;
GRANT UPDATE (name, expires_at, revoked_at, last_used_at, changed_at) ON api_keys TO quotastack_core;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO quotastack_jobs;
CREATE POLICY of_jobs ON api_keys TO quotastack_jobs USING (true) WITH CHECK (true);
