"""What customers use, and what it costs.

Owns        features, their kinds, default values and prices: the default price, and the price that a version of a plan
            variant sets instead; what customers hold of gauges, as the stream tells it.
Invariants  a price is never changed, only followed by another version; what was priced stays priced. Only metered
            features have prices, only the others values. A holder holds once of a gauge.
Tables      features, prices, gauge_holds.
Neighbours  Above: plans (which features a variant includes). `entitlements` composes both into snapshots.
Not mine    Working out a cost (rules/pricing, at the edge); counting usage (ledger); who may acquire
            (the edge's script).
"""
