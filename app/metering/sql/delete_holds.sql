-- Holders that ended long ago, some of them: nothing that could bring them back is in a stream any more.
-- Where a test clock stands, what ended long ago by our time may not have ended.
DELETE FROM gauge_holds
WHERE (environment_id, account_id, feature_key, holder) IN (
    SELECT h.environment_id, h.account_id, h.feature_key, h.holder FROM gauge_holds h
    WHERE h.changed_at < $1 AND (h.units = 0 OR h.expires_at < $1)
      AND NOT EXISTS (SELECT FROM test_clocks c WHERE c.environment_id = h.environment_id)
    ORDER BY changed_at LIMIT $2
)
