"""What customers use, and what it costs.

Owns        features and their prices: the default price, and the price that a version of a plan variant sets instead.
Invariants  a price is never changed, only followed by another version; what was priced stays priced.
Tables      features, prices.
Neighbours  Above: plans (which features a variant includes). `entitlements` composes both into snapshots.
Not mine    Working out a cost (rules/pricing, at the edge); counting usage (ledger).
"""
