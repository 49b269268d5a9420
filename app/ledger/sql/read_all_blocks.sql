-- Every block, spent ones too, of the accounts that read_all_accounts reads, in their order.
SELECT b.environment_id, b.account_id, b.id, b.granted_micro, b.remaining_micro, b.priority, b.paid, b.known_revision,
       b.effective_at, b.expires_at, b.granted_at, b.source, b.is_scheduled, b.terms
FROM credit_blocks b
WHERE ($1::uuid[] IS NULL OR b.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR b.account_id = ANY($2))
ORDER BY b.environment_id, b.account_id
