-- A payment that became a block. The unique key on its reference is what lets it happen once.
INSERT INTO topups (environment_id, id, account_id, package_id, block_id, amount_micro, price_paid, currency,
                    payment_reference, priority, expires_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
