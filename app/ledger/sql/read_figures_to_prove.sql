-- What has to agree of the accounts of ($1, $2), each with its entries since its newest checkpoint, or the last $3
-- transactions where those are fewer: what the window begins with was proved before.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.seq, a.total_micro, a.debt_micro, a.applied_micro, a.head_hash,
       blocks.remaining_micro, last.seq AS last_seq, last.hash AS last_hash, last.total_after_micro AS last_total_micro,
       coalesce(base.total_after_micro, 0) + coalesce(entries.moved_micro, 0) AS entries_micro,
       opening.seq = 0 OR base.seq IS NOT NULL AS has_base,
       head.seq IS NULL OR head.seq <> opening.seq OR coalesce(head.hash = base.hash, false) AS is_checkpointed,
       a.seq - opening.seq = chained.transactions AS is_gapless,
       EXISTS (SELECT FROM dirty_accounts d WHERE d.environment_id = a.environment_id AND d.account_id = a.id) AS is_dirty
FROM unnest($1::uuid[], $2::text[]) AS asked (environment_id, end_user_id)
JOIN accounts a USING (environment_id, end_user_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(b.remaining_micro), 0) AS remaining_micro FROM credit_blocks b
    WHERE b.environment_id = a.environment_id AND b.account_id = a.id AND b.live AND NOT b.is_scheduled
) AS blocks
LEFT JOIN LATERAL (
    SELECT t.seq, t.hash, t.total_after_micro FROM ledger_transactions t
    WHERE t.environment_id = a.environment_id AND t.account_id = a.id
    ORDER BY t.seq DESC
    LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT h.seq, h.hash FROM ledger_checkpoint_heads h
    WHERE h.environment_id = a.environment_id AND h.account_id = a.id
    ORDER BY h.seq DESC
    LIMIT 1
) AS head ON true
CROSS JOIN LATERAL (SELECT greatest(coalesce(head.seq, 0), a.seq - $3::bigint, 0) AS seq) AS opening
LEFT JOIN ledger_transactions base
    ON base.environment_id = a.environment_id AND base.account_id = a.id AND base.seq = opening.seq
CROSS JOIN LATERAL (
    SELECT count(*) AS transactions FROM ledger_transactions t
    WHERE t.environment_id = a.environment_id AND t.account_id = a.id AND t.seq > opening.seq
) AS chained
CROSS JOIN LATERAL (
    SELECT sum(l.amount_micro) AS moved_micro FROM ledger_lines l
    WHERE l.environment_id = a.environment_id AND l.account_id = a.id AND l.seq > opening.seq
      AND (l.account_name = 'debt' OR starts_with(l.account_name, 'block:'))
) AS entries
