-- What jobs finds when it holds accounts, their entries and the edge against each other, all the time (app/jobs/reconcile.py).

-- Accounts that do not agree with their entries, or the edge with them. A row goes when they agree again.
CREATE TABLE drifting_accounts (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    -- What does not hold: the number of the invariant, and what was seen.
    findings        text NOT NULL,
    found_at        timestamptz NOT NULL,
    PRIMARY KEY (environment_id, account_id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);

-- The last walk through all accounts, in one row.
CREATE TABLE reconciliation (
    id        boolean PRIMARY KEY DEFAULT true CHECK (id),
    began_at  timestamptz NOT NULL,
    ended_at  timestamptz NOT NULL CHECK (ended_at >= began_at),
    accounts  bigint NOT NULL CHECK (accounts >= 0)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON drifting_accounts TO quotastack_jobs;
GRANT SELECT, INSERT, UPDATE ON reconciliation TO quotastack_jobs;
GRANT SELECT ON drifting_accounts, reconciliation TO quotastack_core;
GRANT SELECT ON credit_blocks, ledger_transactions, ledger_lines, dirty_accounts TO quotastack_jobs;

ALTER TABLE drifting_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE drifting_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON drifting_accounts TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON drifting_accounts TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_jobs ON drifting_accounts TO quotastack_jobs USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON credit_blocks TO quotastack_jobs USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON ledger_transactions TO quotastack_jobs USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON ledger_lines TO quotastack_jobs USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON dirty_accounts TO quotastack_jobs USING (true) WITH CHECK (true);
