-- Every table below `environments` carries environment_id, and it leads every key, so that no row can point across environments.

CREATE TABLE tenants (
    id          uuid PRIMARY KEY,
    name        text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at  timestamptz NOT NULL
);

CREATE TABLE environments (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    kind        text NOT NULL CHECK (kind IN ('sandbox', 'live')),
    created_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, kind)
);

CREATE TABLE api_keys (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              uuid NOT NULL,
    digest          bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    display_prefix  text NOT NULL,
    scopes          text[] NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    revoked_at      timestamptz,
    PRIMARY KEY (environment_id, id)
);

CREATE TABLE customers (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              uuid NOT NULL,
    end_user_id     text NOT NULL CHECK (char_length(end_user_id) BETWEEN 1 AND 256),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, end_user_id)
);

CREATE TABLE features (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              uuid NOT NULL,
    key             text NOT NULL CHECK (key ~ '^[a-z0-9_.-]{1,64}$'),
    name            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('metered')),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, key)
);

-- Immutable: a new price is a new version. variant_version_id NULL = the feature's default price.
CREATE TABLE prices (
    environment_id      uuid NOT NULL,
    id                  uuid NOT NULL,
    feature_id          uuid NOT NULL,
    variant_version_id  uuid,
    version             integer NOT NULL,
    price               jsonb NOT NULL,
    effective_at        timestamptz NOT NULL,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE NULLS NOT DISTINCT (environment_id, feature_id, variant_version_id, version),
    FOREIGN KEY (environment_id, feature_id) REFERENCES features (environment_id, id)
);

CREATE TABLE plans (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              uuid NOT NULL,
    key             text NOT NULL CHECK (key ~ '^[a-z0-9_.-]{1,64}$'),
    name            text NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, key)
);

CREATE TABLE plan_variants (
    environment_id      uuid NOT NULL,
    id                  uuid NOT NULL,
    plan_id             uuid NOT NULL,
    key                 text NOT NULL CHECK (key ~ '^[a-z0-9_.-]{1,64}$'),
    current_version_id  uuid,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, plan_id, key),
    FOREIGN KEY (environment_id, plan_id) REFERENCES plans (environment_id, id)
);

-- Immutable: editing a variant publishes a new version; subscribers stay on theirs.
CREATE TABLE plan_variant_versions (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    variant_id      uuid NOT NULL,
    version         integer NOT NULL,
    interval_unit   text NOT NULL CHECK (interval_unit IN ('day', 'week', 'month', 'year')),
    interval_count  integer NOT NULL CHECK (interval_count BETWEEN 1 AND 366),
    overage_policy  text NOT NULL CHECK (overage_policy IN ('block', 'allow', 'notify')),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, variant_id, version),
    FOREIGN KEY (environment_id, variant_id) REFERENCES plan_variants (environment_id, id)
);

ALTER TABLE prices ADD FOREIGN KEY (environment_id, variant_version_id)
    REFERENCES plan_variant_versions (environment_id, id);
ALTER TABLE plan_variants ADD FOREIGN KEY (environment_id, current_version_id)
    REFERENCES plan_variant_versions (environment_id, id);

CREATE TABLE plan_grants (
    environment_id      uuid NOT NULL,
    id                  uuid NOT NULL,
    variant_version_id  uuid NOT NULL,
    amount_micro        bigint NOT NULL CHECK (amount_micro > 0),
    interval_unit       text NOT NULL CHECK (interval_unit IN ('day', 'week', 'month', 'year')),
    interval_count      integer NOT NULL CHECK (interval_count BETWEEN 1 AND 366),
    priority            smallint NOT NULL DEFAULT 100,
    PRIMARY KEY (environment_id, id),
    FOREIGN KEY (environment_id, variant_version_id) REFERENCES plan_variant_versions (environment_id, id)
);

CREATE TABLE plan_features (
    environment_id      uuid NOT NULL,
    variant_version_id  uuid NOT NULL,
    feature_id          uuid NOT NULL,
    overage_policy      text CHECK (overage_policy IN ('block', 'allow', 'notify')),
    PRIMARY KEY (environment_id, variant_version_id, feature_id),
    FOREIGN KEY (environment_id, variant_version_id) REFERENCES plan_variant_versions (environment_id, id),
    FOREIGN KEY (environment_id, feature_id) REFERENCES features (environment_id, id)
);

CREATE TABLE subscriptions (
    environment_id      uuid NOT NULL,
    id                  uuid NOT NULL,
    customer_id         uuid NOT NULL,
    variant_id          uuid NOT NULL,
    variant_version_id  uuid NOT NULL,
    state               text NOT NULL CHECK (state IN
        ('scheduled', 'trialing', 'active', 'paused', 'overdue', 'canceled', 'expired')),
    anchor_at           timestamptz NOT NULL,
    period_start_at     timestamptz NOT NULL,
    period_end_at       timestamptz NOT NULL CHECK (period_end_at > period_start_at),
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    FOREIGN KEY (environment_id, customer_id) REFERENCES customers (environment_id, id),
    FOREIGN KEY (environment_id, variant_id) REFERENCES plan_variants (environment_id, id),
    FOREIGN KEY (environment_id, variant_version_id) REFERENCES plan_variant_versions (environment_id, id)
);
-- At most one base subscription of a customer is in force.
CREATE UNIQUE INDEX subscriptions_one_in_force ON subscriptions (environment_id, customer_id)
    WHERE state NOT IN ('canceled', 'expired');

-- Content-addressed: what a customer on this composition may do and what events cost. Never changed.
CREATE TABLE snapshots (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              text NOT NULL,
    content         bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id)
);

-- One account per customer: the totals the edge hears of. The row is the lock of everything below it.
CREATE TABLE accounts (
    environment_id       uuid NOT NULL,
    id                   uuid NOT NULL,
    end_user_id          text NOT NULL,
    revision             bigint NOT NULL CHECK (revision >= 0),
    seq                  bigint NOT NULL CHECK (seq >= 0),
    total_micro          bigint NOT NULL,
    debt_micro           bigint NOT NULL CHECK (debt_micro >= 0),
    applied_micro        bigint NOT NULL,
    -- The earliest moment at which something changes by itself; NULL = never.
    valid_until          timestamptz,
    posted_at            timestamptz NOT NULL,
    head_hash            bytea NOT NULL CHECK (octet_length(head_hash) = 32),
    -- Set before the transaction commits that makes the account: composed from what it holds by then.
    snapshot_id          text,
    subscription_status  text NOT NULL,
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, end_user_id),
    FOREIGN KEY (environment_id, id) REFERENCES customers (environment_id, id),
    FOREIGN KEY (environment_id, snapshot_id) REFERENCES snapshots (environment_id, id)
) WITH (fillfactor = 60);
CREATE INDEX accounts_valid_until ON accounts (valid_until) WHERE valid_until IS NOT NULL;

CREATE TABLE credit_blocks (
    environment_id      uuid NOT NULL,
    id                  uuid NOT NULL,
    account_id          uuid NOT NULL,
    source              text NOT NULL CHECK (source IN
        ('plan', 'topup', 'promo', 'rollover', 'refund', 'adjustment')),
    granted_micro       bigint NOT NULL CHECK (granted_micro > 0),
    remaining_micro     bigint NOT NULL CHECK (remaining_micro BETWEEN 0 AND granted_micro),
    live                boolean NOT NULL,
    priority            smallint NOT NULL,
    paid                boolean NOT NULL,
    known_revision      bigint NOT NULL,
    effective_at        timestamptz NOT NULL,
    expires_at          timestamptz,
    granted_at          timestamptz NOT NULL,
    CHECK (live = (remaining_micro > 0)),
    PRIMARY KEY (environment_id, id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
) WITH (fillfactor = 60);
CREATE INDEX credit_blocks_account ON credit_blocks (environment_id, account_id) WHERE live;
CREATE INDEX credit_blocks_history ON credit_blocks (environment_id, account_id, granted_at);

CREATE TABLE ledger_transactions (
    environment_id      uuid NOT NULL,
    account_id          uuid NOT NULL,
    seq                 bigint NOT NULL CHECK (seq > 0),
    id                  uuid NOT NULL,
    kind                text NOT NULL CHECK (kind IN ('grant', 'usage', 'reservation_opened', 'reservation_committed',
        'reservation_released', 'reservation_expired', 'expiry', 'rollover', 'adjustment', 'refund', 'void',
        'debt_payment', 'overage_billed')),
    actor               text NOT NULL,
    reason              text,
    idempotency_key     text,
    total_before_micro  bigint NOT NULL,
    total_after_micro   bigint NOT NULL,
    events_digest       bytea,
    posted_at           timestamptz NOT NULL,
    recorded_at         timestamptz NOT NULL,
    previous_hash       bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash                bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (environment_id, account_id, seq),
    UNIQUE (environment_id, id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);

-- Double entry: the lines of a transaction sum to zero.
-- account_name: block:<id> | reserved:<id> | debt | issued:<source> | consumed:<feature> | expired | voided | billed
CREATE TABLE ledger_lines (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    seq             bigint NOT NULL,
    line            integer NOT NULL,
    account_name    text NOT NULL,
    amount_micro    bigint NOT NULL CHECK (amount_micro <> 0),
    PRIMARY KEY (environment_id, account_id, seq, line)
);

-- id is derived from scope and idempotency key, so the primary key is the dedupe, for ever.
-- No foreign keys: the flusher writes rows only for accounts that it holds locked; `ledger verify` proves it.
CREATE TABLE usage_events (
    environment_id   uuid NOT NULL,
    id               uuid NOT NULL,
    account_id       uuid NOT NULL,
    seq              bigint NOT NULL,
    feature_key      text NOT NULL,
    units_micro      bigint NOT NULL CHECK (units_micro > 0),
    cost_micro       bigint NOT NULL CHECK (cost_micro >= 0),
    debt_micro       bigint NOT NULL CHECK (debt_micro BETWEEN 0 AND cost_micro),
    draws            text NOT NULL,
    price_id         uuid NOT NULL,
    idempotency_key  text,
    properties       text,
    occurred_at      timestamptz NOT NULL,
    accepted_at      timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id)
);
CREATE INDEX usage_events_account ON usage_events (environment_id, account_id, seq);

CREATE TABLE rejected_events (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    end_user_id     text NOT NULL,
    stream_id       text NOT NULL,
    code            text NOT NULL,
    detail          text NOT NULL,
    entry           bytea NOT NULL,
    recorded_at     timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id)
);

-- Outside row-level security, with tenants and environments: bookkeeping of the stream, no tenant's data.
CREATE TABLE partition_leases (
    partition    smallint PRIMARY KEY,
    owner        uuid NOT NULL,
    lease_until  timestamptz NOT NULL
);

CREATE TABLE stream_cursors (
    partition       smallint PRIMARY KEY,
    incarnation     uuid NOT NULL,
    last_id         text NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE dirty_accounts (
    environment_id  uuid NOT NULL,
    account_id      uuid NOT NULL,
    revision        bigint NOT NULL,
    PRIMARY KEY (environment_id, account_id),
    FOREIGN KEY (environment_id, account_id) REFERENCES accounts (environment_id, id)
);

CREATE TABLE outbox (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    id              uuid NOT NULL,
    type            text NOT NULL,
    end_user_id     text,
    data            jsonb NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id)
);

-- Key, effect and answer commit together: status and body are NULL only inside the transaction that is working them out.
CREATE TABLE idempotency_keys (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    route           text NOT NULL,
    key             text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    -- What was asked, as JSON text: it is only ever compared.
    request         text NOT NULL,
    status          smallint,
    body            bytea,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, route, key)
);
