-- Whose subscriptions they are, up to when something was posted, and what they hold then of credit that plans gave.
SELECT a.environment_id, a.id, a.end_user_id, a.posted_at, a.total_micro, a.reserved_micro, coalesce((
    SELECT sum(b.remaining_micro) FROM credit_blocks b
    WHERE b.environment_id = a.environment_id AND b.account_id = a.id AND b.live AND b.source = $4
      AND (b.expires_at IS NULL OR b.expires_at > greatest(a.posted_at, $3))
), 0)::bigint AS of_plans_micro
FROM accounts a WHERE a.environment_id = $1 AND a.id = $2
