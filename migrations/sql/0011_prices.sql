-- A price for usage whose properties match, beside the one for everybody ('{}'). Versions count through both.
ALTER TABLE prices ADD COLUMN match jsonb NOT NULL DEFAULT '{}';

-- Snapshots said one price of a feature; they say its rates now (app/wire/snapshot.py). Every account gets one of the new form
-- with what its own says, and the flusher publishes it. Edges answer 503 to a customer until that is done.
CREATE TEMPORARY TABLE rewritten ON COMMIT DROP AS
WITH named AS MATERIALIZED (
    SELECT environment_id, id, content FROM snapshots s
    WHERE EXISTS (SELECT FROM accounts a WHERE a.environment_id = s.environment_id AND a.snapshot_id = s.id)
), documents AS (
    SELECT environment_id, id, convert_from(content, 'UTF8')::jsonb AS document FROM named
)
SELECT environment_id, id AS old_id, convert_to(jsonb_set(document, '{features}', features)::text, 'UTF8') AS content
FROM documents, LATERAL (
    SELECT coalesce(jsonb_object_agg(key, (terms - 'price' - 'price_id') || jsonb_build_object('rates',
        CASE WHEN jsonb_typeof(terms -> 'price') = 'object' THEN
            jsonb_build_array(jsonb_build_object('versions', jsonb_build_array(jsonb_build_object(
                'effective_at', 0, 'price_id', terms -> 'price_id', 'price', terms -> 'price'))))
        ELSE '[]' END)), '{}') AS features
    FROM jsonb_each(document -> 'features') AS member (key, terms)
) AS converted;

INSERT INTO snapshots (environment_id, id, content, created_at)
SELECT environment_id, left(encode(sha256(content), 'hex'), 22), content, now() FROM rewritten
ON CONFLICT DO NOTHING;

WITH moved AS (
    UPDATE accounts SET snapshot_id = left(encode(sha256(content), 'hex'), 22), revision = revision + 1
    FROM rewritten WHERE accounts.environment_id = rewritten.environment_id AND snapshot_id = old_id
    RETURNING accounts.environment_id, accounts.id, revision
)
INSERT INTO dirty_accounts (environment_id, account_id, revision) SELECT * FROM moved
ON CONFLICT (environment_id, account_id) DO UPDATE SET revision = excluded.revision;
