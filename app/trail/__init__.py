"""What every write leaves behind, in its own transaction.

Owns        idempotency keys (what was asked and answered), the audit log (who changed what), the outbox (what others
            will want to hear of), and the marks of accounts that have to be published anew.
Invariants  14 to 20 (one key, at most one effect; the stored answer byte for byte), 56 (changes and their outbox rows),
            68 (changes and their audit rows).
Tables      idempotency_keys, operator_keys, audit_log, outbox, dirty_accounts.
Neighbours  Every domain above writes through it; `entitlements` and `jobs` read what it left.
Not mine    Composing and publishing what was marked (`entitlements`); delivering what is in the outbox.
"""
