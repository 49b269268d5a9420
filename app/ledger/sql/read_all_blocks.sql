-- Every block, spent ones too, of the accounts that read_all_accounts reads, in their order. Of what rolled over while
-- its subscription waited for a payment that never came: when that ended, with which it was lost.
SELECT b.environment_id, b.account_id, b.id, b.granted_micro, b.remaining_micro, b.priority, b.paid, b.known_revision,
       b.effective_at, b.expires_at, b.granted_at, b.source, b.is_scheduled, b.terms, lost.at AS lost_at
FROM credit_blocks b
LEFT JOIN LATERAL (
    SELECT last.at
    FROM subscriptions s
    CROSS JOIN LATERAL (
        SELECT state_before, at FROM subscription_history
        WHERE environment_id = s.environment_id AND subscription_id = s.id
        ORDER BY number DESC LIMIT 1
    ) last
    WHERE b.source = 'rollover' AND s.environment_id = b.environment_id
      AND s.id = (b.terms::jsonb #>> '{tie,subscription_id}')::uuid
      AND s.state IN ('canceled', 'expired') AND last.state_before = 'overdue' AND s.period_end_at <= b.effective_at
) lost ON true
WHERE ($1::uuid[] IS NULL OR b.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR b.account_id = ANY($2))
ORDER BY b.environment_id, b.account_id
