-- Once a UTC day the heads of all chains of an environment, so that a chain that was computed anew is found.
CREATE TABLE ledger_checkpoints (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    -- Of taken_at, in UTC. The checkpoint is of that moment, not of the day's end.
    day             date NOT NULL,
    taken_at        timestamptz NOT NULL,
    -- Of the environment at that moment: accounts that have transactions, and those transactions.
    accounts        bigint NOT NULL CHECK (accounts >= 0),
    transactions    bigint NOT NULL CHECK (transactions >= accounts),
    -- Over this checkpoint's rows of ledger_checkpoint_heads, by account.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    previous_hash   bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash            bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (environment_id, day),
    -- A checkpoint has one successor: two processes that take one around midnight cannot fork the chain.
    UNIQUE (environment_id, previous_hash)
);

-- Heads that moved since the checkpoint before. With all earlier rows they are the heads of every account.
-- No foreign key to the checkpoint, which is written after them, and whose rows nobody may lock; `ledger verify` proves it.
CREATE TABLE ledger_checkpoint_heads (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    seq             bigint NOT NULL CHECK (seq > 0),
    day             date NOT NULL,
    hash            bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (environment_id, account_id, seq),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);
CREATE INDEX ledger_checkpoint_heads_day ON ledger_checkpoint_heads (environment_id, day, account_id);

GRANT SELECT ON ledger_checkpoints, ledger_checkpoint_heads TO quotastack_core;
GRANT SELECT, INSERT ON ledger_checkpoints, ledger_checkpoint_heads TO quotastack_jobs;
REVOKE UPDATE, DELETE, TRUNCATE ON ledger_checkpoints, ledger_checkpoint_heads FROM CURRENT_USER;

DO $$
DECLARE
    own_rows constant text := 'environment_id = (SELECT nullif(current_setting(''app.environment_id'', true), '''')::uuid)';
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_checkpoints', 'ledger_checkpoint_heads']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY of_core ON %I TO quotastack_core USING (%s) WITH CHECK (%2$s)', name, own_rows);
        EXECUTE format('CREATE POLICY of_jobs ON %I TO quotastack_jobs USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER written_once', name);
    END LOOP;
END
$$;
