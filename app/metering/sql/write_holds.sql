-- What became of holders, each of them once. An entry of the stream that is read again, or is older than what is known, changes
-- nothing.
INSERT INTO gauge_holds AS known (environment_id, account_id, feature_key, holder, units, expires_at, changed_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
ON CONFLICT (environment_id, account_id, feature_key, holder) DO UPDATE
SET units = excluded.units, expires_at = excluded.expires_at, changed_at = excluded.changed_at
WHERE known.changed_at <= excluded.changed_at
