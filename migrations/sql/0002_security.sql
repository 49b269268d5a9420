-- Who may do what. Core, flusher and jobs log in as roles of their own, made by app/io/migrate.py since their passwords
-- come from the URLs. The owner, who runs this, is no superuser.

-- Core ----------------------------------------------------------------------------------------------------------------
GRANT SELECT, INSERT ON customers, prices, plans, plan_variant_versions, plan_grants, plan_features, snapshots,
    ledger_transactions, ledger_lines, outbox TO quotastack_core;
GRANT SELECT, INSERT, UPDATE ON features, plan_variants, subscriptions, accounts, credit_blocks, idempotency_keys TO quotastack_core;
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_accounts TO quotastack_core;
GRANT SELECT ON usage_events, rejected_events, stream_cursors, migration TO quotastack_core;

-- Flusher -------------------------------------------------------------------------------------------------------------
GRANT SELECT, INSERT, UPDATE ON stream_cursors, partition_leases, credit_blocks TO quotastack_flusher;
GRANT SELECT, UPDATE ON accounts, subscriptions TO quotastack_flusher;
GRANT SELECT, INSERT ON ledger_transactions, ledger_lines, usage_events, rejected_events, outbox, snapshots
    TO quotastack_flusher;
GRANT SELECT, INSERT, UPDATE, DELETE ON dirty_accounts TO quotastack_flusher;
GRANT SELECT ON features, prices, plans, plan_variants, plan_variant_versions, plan_grants, plan_features, migration
    TO quotastack_flusher;

-- Jobs ----------------------------------------------------------------------------------------------------------------
GRANT SELECT ON environments, customers, accounts, stream_cursors, migration TO quotastack_jobs;
GRANT SELECT, DELETE ON idempotency_keys TO quotastack_jobs;

-- Rows ----------------------------------------------------------------------------------------------------------------
-- Outside the rule: tenants, environments, stream_cursors, partition_leases (they carry no environment_id), and Piccolo's
-- own list of migrations. The owner sees every row, so that `ledger verify` and the functions below do; FORCE makes that a
-- policy that can be read in the catalogue instead of a privilege that cannot.
DO $$
DECLARE
    own_rows constant text := 'environment_id = (SELECT nullif(current_setting(''app.environment_id'', true), '''')::uuid)';
    of_flusher constant text[] := ARRAY['accounts', 'credit_blocks', 'ledger_transactions', 'ledger_lines', 'usage_events',
        'rejected_events', 'outbox', 'dirty_accounts', 'snapshots', 'subscriptions', 'features', 'prices', 'plans',
        'plan_variants', 'plan_variant_versions', 'plan_grants', 'plan_features'];
    of_jobs constant text[] := ARRAY['customers', 'accounts', 'idempotency_keys'];
    name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND attname = 'environment_id'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY of_core ON %I TO quotastack_core USING (%s) WITH CHECK (%2$s)', name, own_rows);
        IF name = ANY (of_flusher) THEN
            EXECUTE format('CREATE POLICY of_flusher ON %I TO quotastack_flusher USING (true) WITH CHECK (true)', name);
        END IF;
        IF name = ANY (of_jobs) THEN
            EXECUTE format('CREATE POLICY of_jobs ON %I TO quotastack_jobs USING (true) WITH CHECK (true)', name);
        END IF;
    END LOOP;
END
$$;

-- The ledger is written once ------------------------------------------------------------------------------------------
REVOKE UPDATE, DELETE, TRUNCATE ON ledger_transactions, ledger_lines, usage_events FROM CURRENT_USER;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Correct an entry with a new entry.';
END
$$;

CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE ledger_transactions ENABLE ALWAYS TRIGGER written_once;
ALTER TABLE ledger_lines ENABLE ALWAYS TRIGGER written_once;
ALTER TABLE usage_events ENABLE ALWAYS TRIGGER written_once;

-- What core may do before it knows an environment ---------------------------------------------------------------------
CREATE FUNCTION authenticate_key(wanted_digest bytea)
    RETURNS TABLE (environment_id uuid, environment_kind text, key_id uuid, scopes text[], expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT environments.id, environments.kind, api_keys.id, api_keys.scopes, api_keys.expires_at
    FROM api_keys JOIN environments ON environments.id = api_keys.environment_id
    WHERE api_keys.digest = wanted_digest AND api_keys.revoked_at IS NULL
$$;

-- Of the arrays the first element is the sandbox's, the second the live environment's.
CREATE FUNCTION create_tenant(tenant_id uuid, tenant_name text, environment_ids uuid[], key_ids uuid[],
        key_digests bytea[], key_display_prefixes text[], key_scopes text[], created_at timestamptz)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    INSERT INTO tenants (id, name, created_at)
    VALUES (create_tenant.tenant_id, tenant_name, create_tenant.created_at);
    INSERT INTO environments (id, tenant_id, kind, created_at)
    SELECT id, create_tenant.tenant_id, kind, create_tenant.created_at
    FROM unnest(environment_ids, ARRAY['sandbox', 'live']) AS environment (id, kind);
    INSERT INTO api_keys (environment_id, id, digest, display_prefix, scopes, created_at)
    SELECT key.environment_id, id, digest, display_prefix, key_scopes, create_tenant.created_at
    FROM unnest(environment_ids, key_ids, key_digests, key_display_prefixes)
        AS key (environment_id, id, digest, display_prefix);
$$;

REVOKE ALL ON FUNCTION authenticate_key, create_tenant FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_key, create_tenant TO quotastack_core;
