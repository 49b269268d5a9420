-- Nothing is sent to the endpoint any more; jobs removes what waits for it, and then the endpoint.
UPDATE webhook_endpoints
SET deleted_at = $3, updated_at = $3, enabled = false, disabled_reason = coalesce(disabled_reason, 'asked'),
    disabled_at = coalesce(disabled_at, $3)
WHERE environment_id = $1 AND id = $2
