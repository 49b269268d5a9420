-- The audit log --------------------------------------------------------------------------------------------------------
-- One row for each mutation that took effect, written by its own transaction. What was said is json and not jsonb: it is kept
-- as it was said, with every escape that JSON has, and nothing searches in it.
CREATE TABLE audit_log (
    environment_id   uuid NOT NULL REFERENCES environments (id),
    -- UUIDv7 of `at`: the order of the rows.
    id               uuid NOT NULL,
    at               timestamptz NOT NULL,
    -- The id of an API key as it is shown, or `operator`.
    actor            text NOT NULL,
    request_id       text NOT NULL,
    route            text NOT NULL,
    status           smallint NOT NULL,
    -- NULL = the route and its path say what was changed.
    subject_kind     text,
    subject_id       text,
    -- What was asked: {"path": …, "body": …}.
    request          json NOT NULL,
    before           json,
    after            json,
    reason           text,
    idempotency_key  text,
    PRIMARY KEY (environment_id, id),
    CHECK ((subject_kind IS NULL) = (subject_id IS NULL))
);

CREATE INDEX audit_log_of_subject ON audit_log (environment_id, subject_kind, subject_id, id);
CREATE INDEX audit_log_of_actor ON audit_log (environment_id, actor, id);

GRANT SELECT, INSERT ON audit_log TO quotastack_core;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY of_owner ON audit_log TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_core ON audit_log TO quotastack_core
    USING (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid))
    WITH CHECK (environment_id = (SELECT nullif(current_setting('app.environment_id', true), '')::uuid));

-- It is written once, as the ledger is.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: it is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Correct an entry with a new entry.';
END
$$;

REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM CURRENT_USER;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER written_once;

-- Keys that touched the ledger stay with it -----------------------------------------------------------------------------
-- Of the keys that are there nobody knows whether they did: they stay.
ALTER TABLE idempotency_keys ADD COLUMN touched_ledger boolean NOT NULL DEFAULT true;
ALTER TABLE idempotency_keys ALTER COLUMN touched_ledger SET DEFAULT false;
-- Jobs forgets the others by age, of all environments.
CREATE INDEX idempotency_keys_old ON idempotency_keys (created_at) WHERE NOT touched_ledger;

-- A request moves a clock once: which one moved it last (its route and key; NULL = one without a key).
ALTER TABLE test_clocks ADD COLUMN moved_under text;

-- Keys of operators -----------------------------------------------------------------------------------------------------
-- What an operator asks for belongs to no environment. Core reaches these rows through two functions only: no environment's
-- transaction can read whose tenant is whose.
CREATE TABLE operator_keys (
    route       text NOT NULL,
    key         text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    request     text NOT NULL,
    status      smallint,
    body        bytea,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (route, key)
);

CREATE INDEX operator_keys_old ON operator_keys (created_at);
GRANT SELECT, DELETE ON operator_keys TO quotastack_jobs;

-- Takes the key, or answers with what was asked and answered under it before. A twin is waited for.
CREATE FUNCTION claim_operator_key(asked_route text, asked_key text, asked text, asked_at timestamptz)
    RETURNS TABLE (request text, status smallint, body bytea)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    LOOP
        INSERT INTO operator_keys (route, key, request, created_at) VALUES (asked_route, asked_key, asked, asked_at)
        ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
        RETURN QUERY SELECT earlier.request, earlier.status, earlier.body FROM operator_keys earlier
                     WHERE earlier.route = asked_route AND earlier.key = asked_key;
        EXIT WHEN FOUND;  -- else jobs has forgotten it in between
    END LOOP;
END
$$;

-- Puts the answer beside a key that has none.
CREATE FUNCTION remember_operator_answer(asked_route text, asked_key text, answer_status smallint, answer_body bytea)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    UPDATE operator_keys SET status = answer_status, body = answer_body
    WHERE route = asked_route AND key = asked_key AND status IS NULL
$$;

REVOKE ALL ON FUNCTION claim_operator_key, remember_operator_answer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_operator_key, remember_operator_answer TO quotastack_core;
