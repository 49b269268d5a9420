-- Endpoints of environments that are told of what happens now. None of them goes away until the transaction ends. One that
-- was disabled long ago hears nothing: its queue would grow for nobody.
SELECT environment_id, id, event_types FROM webhook_endpoints
WHERE environment_id = ANY ($1::uuid[]) AND deleted_at IS NULL AND (enabled OR disabled_at > $2)
ORDER BY environment_id, id
FOR KEY SHARE
