-- When subscriptions stood still: what comes back to credit that a pause has moved goes after it (app/rules/standstill.py).
CREATE INDEX subscription_history_standstills ON subscription_history (environment_id, subscription_id, number)
    WHERE 'paused' IN (state_before, state_after) AND state_before <> state_after;
