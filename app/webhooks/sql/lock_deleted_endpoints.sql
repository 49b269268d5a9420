-- Endpoints that were deleted, but for those that somebody is at.
SELECT id FROM webhook_endpoints WHERE environment_id = $1 AND deleted_at IS NOT NULL
FOR UPDATE SKIP LOCKED
