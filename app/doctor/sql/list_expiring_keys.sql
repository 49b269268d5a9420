-- API keys that are in force at $1 and no longer at $2, and were used at $3 or later: one that was rotated away may end.
SELECT k.environment_id, k.display_prefix, k.expires_at
FROM api_keys k
WHERE k.revoked_at IS NULL AND k.expires_at > $1 AND k.expires_at <= $2 AND k.last_used_at >= $3
ORDER BY k.expires_at
LIMIT 100
