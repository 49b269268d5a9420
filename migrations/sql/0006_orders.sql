-- What became of every order of core's: an order id has one effect, for ever, and an event or block is voided once.

CREATE TABLE ledger_orders (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    account_id      uuid NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('void_usage', 'void_grant', 'debit', 'bill_overage')),
    target_id       uuid,
    -- NULL where it was carried out; else why not, with the amount that stood in its way.
    code            text,
    amount_micro    bigint NOT NULL,
    seq             bigint,
    -- Of everything that was ordered: another order under the same id is refused.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    recorded_at     timestamptz NOT NULL,
    CHECK ((code IS NULL) = (seq IS NOT NULL)),
    CHECK ((kind IN ('debit', 'bill_overage')) = (target_id IS NULL)),
    PRIMARY KEY (environment_id, id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);
CREATE UNIQUE INDEX orders_voided_once ON ledger_orders (environment_id, target_id) WHERE code IS NULL AND target_id IS NOT NULL;

GRANT SELECT ON ledger_orders TO quotastack_core;
GRANT SELECT, INSERT ON ledger_orders TO quotastack_flusher;

ALTER TABLE ledger_orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_orders FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON ledger_orders TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON ledger_orders TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON ledger_orders TO quotastack_flusher USING (true) WITH CHECK (true);

REVOKE UPDATE, DELETE, TRUNCATE ON ledger_orders FROM CURRENT_USER;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_orders
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE ledger_orders ENABLE ALWAYS TRIGGER written_once;
