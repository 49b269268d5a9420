-- Blocks with credit left, of accounts that the caller holds locked.
SELECT b.account_id, b.id, b.remaining_micro, b.priority, b.paid, b.known_revision, b.effective_at, b.expires_at,
       b.granted_at, b.source, b.is_scheduled, b.terms, b.granted_micro
FROM credit_blocks b
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, account_id) USING (environment_id, account_id)
WHERE b.live
