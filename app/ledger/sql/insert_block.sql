-- A new credit block, with everything that it was granted or is to be granted.
INSERT INTO credit_blocks (environment_id, id, account_id, source, granted_micro, remaining_micro, live, priority, paid,
                           known_revision, effective_at, expires_at, granted_at, is_scheduled, terms, metadata,
                           price_paid, currency, external_reference)
VALUES ($1, $2, $3, $4, $5, $5, true, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
