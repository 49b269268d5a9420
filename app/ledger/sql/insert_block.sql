-- New credit blocks, with everything that they were granted or are to be granted; the notes are the same for all.
INSERT INTO credit_blocks (environment_id, id, account_id, source, granted_micro, remaining_micro, live, priority, paid,
                           known_revision, effective_at, expires_at, granted_at, is_scheduled, terms, metadata,
                           price_paid, currency, external_reference)
SELECT b.environment_id, b.id, b.account_id, b.source, b.granted_micro, b.granted_micro, b.granted_micro > 0, b.priority,
       b.paid, b.known_revision, b.effective_at, b.expires_at, b.granted_at, b.is_scheduled, b.terms, $14::text,
       $15::bigint, $16::text, $17::text
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::smallint[], $7::boolean[], $8::bigint[],
            $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::boolean[], $13::text[])
     AS b (environment_id, id, account_id, source, granted_micro, priority, paid, known_revision, effective_at, expires_at,
           granted_at, is_scheduled, terms)
