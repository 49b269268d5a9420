-- A mutation that took effect.
INSERT INTO audit_log (environment_id, id, at, actor, request_id, route, status, subject_kind, subject_id, request, before,
                       after, reason, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
