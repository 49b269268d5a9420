-- Prices of the environment's features, by default (version NULL) and of the plan versions: of each rate the newest that is
-- in force (begins_at NULL), then those that are to come, in the order in which they begin. Of several that begin together
-- the last one counts.
SELECT DISTINCT ON (f.key, p.variant_version_id, p.match, begins_at)
       f.key, p.variant_version_id, p.match, p.id AS price_id, p.price,
       CASE WHEN p.effective_at > $3 THEN p.effective_at END AS begins_at
FROM prices p
JOIN features f ON f.environment_id = p.environment_id AND f.id = p.feature_id
WHERE p.environment_id = $1 AND (p.variant_version_id IS NULL OR p.variant_version_id = ANY($2::uuid[]))
ORDER BY f.key, p.variant_version_id, p.match, begins_at NULLS FIRST, p.effective_at DESC, p.version DESC
