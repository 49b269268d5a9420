-- Credit that is set aside for what is under way. The ledger's lines are the truth; a reservation's row is what they and the
-- stream say of it: what it is never changes, where it is does, and an end is for ever.

CREATE TABLE reservations (
    environment_id   uuid NOT NULL,
    id               uuid NOT NULL,
    account_id       uuid NOT NULL,
    feature_key      text NOT NULL,
    in_credits       boolean NOT NULL,
    -- What it was priced for; 0 where credits were reserved.
    units_micro      bigint NOT NULL CHECK (units_micro >= 0),
    reserved_micro   bigint NOT NULL CHECK (reserved_micro >= 0),
    -- The part of it that no block covered.
    debt_micro       bigint NOT NULL CHECK (debt_micro BETWEEN 0 AND reserved_micro),
    -- JSON: [[block id, micro-credits], ...] in the order in which they were drawn.
    draws            text NOT NULL,
    price_id         uuid NOT NULL,
    idempotency_key  text,
    properties       text,
    -- Start of the period in which its units were counted; NULL = they were not.
    period_at        timestamptz,
    opened_at        timestamptz NOT NULL,
    opened_seq       bigint NOT NULL,
    expires_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('open', 'committed', 'released', 'expired')),
    used_micro       bigint NOT NULL CHECK (used_micro >= 0),
    ended_at         timestamptz,
    ended_seq        bigint CHECK (ended_seq > opened_seq),
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, account_id, opened_seq),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id),
    CHECK (state = 'committed' OR used_micro = 0),
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK ((state = 'open') = (ended_seq IS NULL))
) WITH (fillfactor = 60);
CREATE INDEX reservations_open ON reservations (environment_id, account_id) WHERE state = 'open';
CREATE INDEX reservations_due ON reservations (expires_at, environment_id, id) WHERE state = 'open';

-- What its open reservations come to. Only sums: whoever has none pays for nothing else.
ALTER TABLE accounts
    ADD COLUMN reserved_micro     bigint NOT NULL DEFAULT 0 CHECK (reserved_micro >= 0),
    ADD COLUMN open_reservations  bigint NOT NULL DEFAULT 0 CHECK (open_reservations >= 0);

-- What was reserved in credits counts no units. The check's name depends on what there was before 0003.
DO $$
DECLARE
    name text;
BEGIN
    SELECT conname INTO STRICT name FROM pg_constraint
    WHERE conrelid = 'usage_events'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%units_micro > 0%';
    EXECUTE format('ALTER TABLE usage_events DROP CONSTRAINT %I, ADD CONSTRAINT usage_events_units CHECK (units_micro >= 0)', name);
END
$$;

GRANT SELECT ON reservations TO quotastack_core, quotastack_jobs;
-- Who loads an account loads its open reservations with the prices of their commits.
GRANT SELECT ON prices TO quotastack_jobs;
CREATE POLICY of_jobs ON prices TO quotastack_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (expires_at, state, used_micro, ended_at, ended_seq) ON reservations TO quotastack_flusher;
REVOKE DELETE, TRUNCATE ON reservations FROM CURRENT_USER;

ALTER TABLE reservations ENABLE ROW LEVEL SECURITY;
ALTER TABLE reservations FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON reservations TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON reservations TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));
CREATE POLICY of_flusher ON reservations TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON reservations TO quotastack_jobs USING (true) WITH CHECK (true);
