-- What became of orders.
INSERT INTO ledger_orders (environment_id, id, account_id, kind, target_id, amount_micro, code, seq, digest, context, recorded_at)
SELECT carried.*, $11::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::bigint[],
            $9::bytea[], $10::text[]) AS carried
