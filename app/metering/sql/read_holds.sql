-- What an account's holders held when its ledger was last posted to. Whose time was over by then held nothing.
SELECT h.feature_key, h.holder, h.units, h.expires_at
FROM gauge_holds h
JOIN accounts a ON a.environment_id = h.environment_id AND a.id = h.account_id
WHERE h.environment_id = $1 AND h.account_id = $2 AND h.units > 0
  AND (h.expires_at IS NULL OR h.expires_at > a.posted_at)
