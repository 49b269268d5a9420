"""Who is on which plan.

Owns        subscriptions: the version of the variant, the state, the period.
Invariants  46 (one grant per subscription, template and period), 47 (periods tile), at most one in force per customer.
Tables      subscriptions.
Neighbours  Below: customers (made here where unknown), plans, ledger (the grants of a period). Above: entitlements.
Not mine    Posting what falls due with time (flusher); what a plan allows (plans, rules/entitlement).
"""
