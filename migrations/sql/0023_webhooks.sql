-- What happened is numbered, queued and delivered. Why it is so: docs/decisions/0024-webhooks.md.

-- Core and flushers of an earlier version leave word without a number: that is refused, and what they do with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND usename IN ('quotastack_core', 'quotastack_flusher')) THEN
        RAISE EXCEPTION 'core or a flusher of an earlier version is at work' USING ERRCODE = 'object_in_use',
            HINT = 'Stop core and every flusher, then migrate. The edge goes on; what comes meanwhile waits in Redis.';
    END IF;
END
$$;

-- Numbers -------------------------------------------------------------------------------------------------------------
-- Per customer in the order of commits, without a gap: the row is locked from the number to the commit. '' stands for
-- what concerns no customer.
CREATE TABLE outbox_heads (
    environment_id  uuid NOT NULL REFERENCES environments (id),
    end_user_id     text NOT NULL,
    last_sequence   bigint NOT NULL CHECK (last_sequence > 0),
    PRIMARY KEY (environment_id, end_user_id)
);

-- How many events of an environment its feed has.
CREATE TABLE event_feeds (
    environment_id  uuid PRIMARY KEY REFERENCES environments (id),
    last_position   bigint NOT NULL CHECK (last_position > 0)
);

ALTER TABLE outbox
    ADD COLUMN sequence     bigint,
    -- The order in which rows were written, of all environments: within a customer it is that of `sequence`.
    ADD COLUMN arrival      bigint,
    -- Its place in the feed, and when it was given: by one process at a time, so that who reads on misses nothing.
    ADD COLUMN position     bigint,
    ADD COLUMN relayed_at   timestamptz,
    ADD COLUMN traceparent  text CHECK (char_length(traceparent) <= 55);
UPDATE outbox o SET sequence = n.sequence, arrival = n.arrival, position = n.position, relayed_at = now()
FROM (
    SELECT environment_id, id,
           row_number() OVER (PARTITION BY environment_id, end_user_id ORDER BY created_at, id) AS sequence,
           row_number() OVER (ORDER BY created_at, environment_id, id) AS arrival,
           row_number() OVER (PARTITION BY environment_id ORDER BY created_at, id) AS position
    FROM outbox
) AS n
WHERE n.environment_id = o.environment_id AND n.id = o.id;
INSERT INTO outbox_heads (environment_id, end_user_id, last_sequence)
SELECT environment_id, coalesce(end_user_id, ''), max(sequence) FROM outbox GROUP BY 1, 2;
INSERT INTO event_feeds (environment_id, last_position)
SELECT environment_id, max(position) FROM outbox GROUP BY 1;
ALTER TABLE outbox
    ALTER COLUMN sequence SET NOT NULL,
    ALTER COLUMN arrival SET NOT NULL,
    ALTER COLUMN arrival ADD GENERATED ALWAYS AS IDENTITY,
    ADD CHECK (num_nulls(position, relayed_at) IN (0, 2));
SELECT setval(pg_get_serial_sequence('outbox', 'arrival'), (SELECT coalesce(max(arrival), 0) + 1 FROM outbox), false);
CREATE UNIQUE INDEX outbox_sequence ON outbox (environment_id, end_user_id, sequence) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX outbox_position ON outbox (environment_id, position);
CREATE INDEX outbox_relayed ON outbox (environment_id, relayed_at);
CREATE INDEX outbox_to_relay ON outbox (arrival) WHERE position IS NULL;

-- Webhooks ------------------------------------------------------------------------------------------------------------
CREATE TABLE webhook_endpoints (
    environment_id   uuid NOT NULL REFERENCES environments (id),
    id               uuid NOT NULL,
    url              text NOT NULL CHECK (char_length(url) BETWEEN 1 AND 2048),
    description      text NOT NULL CHECK (char_length(description) <= 500),
    -- NULL = all of them; 'subscription.*' = all that begin so.
    event_types      text[],
    enabled          boolean NOT NULL,
    -- Why it is not: 'asked', 'gone' (it answered 410) or 'failing'.
    disabled_reason  text CHECK (disabled_reason IN ('asked', 'gone', 'failing')),
    disabled_at      timestamptz,
    -- Its secret is derived from its id and this; the one before signs too until rotated_until.
    secret_version   integer NOT NULL CHECK (secret_version > 0),
    rotated_until    timestamptz,
    -- Since when no attempt has gone well.
    failing_since    timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    deleted_at       timestamptz,
    PRIMARY KEY (environment_id, id),
    CHECK (num_nulls(disabled_reason, disabled_at) = CASE WHEN enabled THEN 2 ELSE 0 END)
);

-- Where deliveries stand in their queues. Gaps mean nothing.
CREATE SEQUENCE webhook_places;

-- An event on its way to an endpoint: once for each, however often it is sent.
CREATE TABLE webhook_deliveries (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_id        uuid NOT NULL,
    -- Of whose events it is, and so in which queue; '' as above.
    end_user_id     text NOT NULL,
    place           bigint NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'delivered', 'parked')),
    -- All attempts, and how many of them were made before it was queued the last time.
    attempts        integer NOT NULL,
    attempts_before integer NOT NULL,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    PRIMARY KEY (environment_id, id),
    UNIQUE (environment_id, event_id, endpoint_id),
    FOREIGN KEY (environment_id, endpoint_id) REFERENCES webhook_endpoints (environment_id, id),
    FOREIGN KEY (environment_id, event_id) REFERENCES outbox (environment_id, id),
    CHECK ((state = 'pending') = (finished_at IS NULL))
);
CREATE INDEX webhook_deliveries_queue ON webhook_deliveries (environment_id, endpoint_id, end_user_id, place)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (environment_id, endpoint_id, id);
CREATE INDEX webhook_deliveries_of_customer ON webhook_deliveries (environment_id, end_user_id, id);

-- One row for each queue in which something waits. Whoever takes one moves due_at to the end of its lease.
CREATE TABLE webhook_queues (
    environment_id  uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    end_user_id     text NOT NULL,
    waiting         integer NOT NULL CHECK (waiting >= 0),
    due_at          timestamptz NOT NULL,
    claim           uuid,
    PRIMARY KEY (environment_id, endpoint_id, end_user_id),
    FOREIGN KEY (environment_id, endpoint_id) REFERENCES webhook_endpoints (environment_id, id)
);
CREATE INDEX webhook_queues_due ON webhook_queues (environment_id, endpoint_id, due_at);

CREATE TABLE webhook_attempts (
    environment_id  uuid NOT NULL,
    delivery_id     uuid NOT NULL,
    number          integer NOT NULL CHECK (number > 0),
    at              timestamptz NOT NULL,
    status          smallint,
    failure         text,
    elapsed_ms      integer NOT NULL,
    answer          text CHECK (char_length(answer) <= 1024),
    PRIMARY KEY (environment_id, delivery_id, number),
    FOREIGN KEY (environment_id, delivery_id) REFERENCES webhook_deliveries (environment_id, id) ON DELETE CASCADE
);

-- A range of the feed that is to be queued again for an endpoint, as far as it has come.
CREATE TABLE webhook_replays (
    environment_id  uuid NOT NULL,
    id              uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_types     text[],
    next_position   bigint NOT NULL,
    last_position   bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (environment_id, id),
    FOREIGN KEY (environment_id, endpoint_id) REFERENCES webhook_endpoints (environment_id, id)
);

-- Who may do what -----------------------------------------------------------------------------------------------------
GRANT SELECT, INSERT, UPDATE ON outbox_heads TO quotastack_core, quotastack_flusher, quotastack_jobs;
GRANT SELECT ON environments TO quotastack_flusher;
GRANT SELECT ON event_feeds TO quotastack_core;
GRANT SELECT, INSERT, UPDATE ON event_feeds TO quotastack_jobs;
GRANT SELECT, INSERT, DELETE, UPDATE (position, relayed_at) ON outbox TO quotastack_jobs;
GRANT SELECT, INSERT, UPDATE ON webhook_endpoints, webhook_deliveries, webhook_queues TO quotastack_core;
GRANT SELECT ON webhook_attempts TO quotastack_core;
GRANT SELECT, INSERT ON webhook_replays TO quotastack_core;
GRANT SELECT, UPDATE, DELETE ON webhook_endpoints TO quotastack_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries, webhook_queues, webhook_attempts, webhook_replays
    TO quotastack_jobs;
GRANT USAGE ON SEQUENCE webhook_places TO quotastack_core, quotastack_jobs;

DO $$
DECLARE
    own_rows constant text := 'environment_id = (SELECT nullif(current_setting(''app.environment_id'', true), '''')::uuid)';
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['outbox_heads', 'event_feeds', 'webhook_endpoints', 'webhook_deliveries',
                                'webhook_queues', 'webhook_attempts', 'webhook_replays'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY of_core ON %I TO quotastack_core USING (%s) WITH CHECK (%2$s)', name, own_rows);
        EXECUTE format('CREATE POLICY of_jobs ON %I TO quotastack_jobs USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;
CREATE POLICY of_flusher ON outbox_heads TO quotastack_flusher USING (true) WITH CHECK (true);
CREATE POLICY of_jobs ON outbox TO quotastack_jobs USING (true) WITH CHECK (true);
