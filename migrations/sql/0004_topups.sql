-- What a block says of itself to those who look at it later; nothing is decided by it.
ALTER TABLE credit_blocks
    -- A JSON object as it was sent: text, so that its numbers stay what they were.
    ADD COLUMN metadata            text CHECK (octet_length(metadata) <= 4096),
    -- In the smallest unit of the currency.
    ADD COLUMN price_paid          bigint CHECK (price_paid >= 0),
    ADD COLUMN currency            text CHECK (currency ~ '^[A-Z]{3}$'),
    ADD COLUMN external_reference  text CHECK (char_length(external_reference) BETWEEN 1 AND 255),
    ADD CHECK ((price_paid IS NULL) = (currency IS NULL));

-- Only `active` ever changes.
CREATE TABLE topup_packages (
    environment_id      uuid NOT NULL REFERENCES environments (id),
    id                  uuid NOT NULL,
    key                 text NOT NULL CHECK (key ~ '^[a-z0-9_.-]{1,64}$'),
    name                text NOT NULL,
    amount_micro        bigint NOT NULL CHECK (amount_micro > 0),
    price_paid          bigint NOT NULL CHECK (price_paid >= 0),
    currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    priority            smallint NOT NULL,
    expires_after_days  integer CHECK (expires_after_days BETWEEN 1 AND 36500),
    active              boolean NOT NULL,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, key)
);

-- A payment, and the block that it became. The reference is unique for ever: rows are never changed or removed.
CREATE TABLE topups (
    environment_id     uuid NOT NULL,
    id                 uuid NOT NULL,
    account_id         uuid NOT NULL,
    package_id         uuid,
    block_id           uuid NOT NULL,
    amount_micro       bigint NOT NULL CHECK (amount_micro > 0),
    price_paid         bigint NOT NULL CHECK (price_paid >= 0),
    currency           text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payment_reference  text NOT NULL CHECK (char_length(payment_reference) BETWEEN 1 AND 255),
    priority           smallint NOT NULL,
    expires_at         timestamptz,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, payment_reference),
    UNIQUE (environment_id, block_id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id),
    FOREIGN KEY (environment_id, package_id) REFERENCES topup_packages (environment_id, id),
    FOREIGN KEY (environment_id, block_id) REFERENCES credit_blocks (environment_id, id)
);
CREATE INDEX topups_account ON topups (environment_id, account_id, id);

GRANT SELECT, INSERT, UPDATE (active) ON topup_packages TO quotastack_core;
GRANT SELECT, INSERT ON topups TO quotastack_core;

-- As 0002 has it for the tables before: everyone's rows are their environment's.
DO $$
DECLARE
    own_rows constant text := 'environment_id = (SELECT nullif(current_setting(''app.environment_id'', true), '''')::uuid)';
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['topup_packages', 'topups'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY of_core ON %I TO quotastack_core USING (%s) WITH CHECK (%2$s)', name, own_rows);
    END LOOP;
END
$$;
