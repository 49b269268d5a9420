-- Blocks that orders name or give back to, of accounts that the caller holds locked; spent ones too.
SELECT b.account_id, b.id, b.granted_micro, b.remaining_micro, b.priority, b.paid, b.known_revision, b.effective_at,
       b.expires_at, b.granted_at
FROM credit_blocks b
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
