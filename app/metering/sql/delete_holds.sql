-- Holders that ended long ago, some of them: nothing that could bring them back is in a stream any more.
DELETE FROM gauge_holds
WHERE (environment_id, account_id, feature_key, holder) IN (
    SELECT environment_id, account_id, feature_key, holder FROM gauge_holds
    WHERE changed_at < $1 AND (units = 0 OR expires_at < $1)
    ORDER BY changed_at LIMIT $2
)
