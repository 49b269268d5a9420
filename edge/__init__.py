"""The edge: the hot routes, answered from what the ledger has published to Redis.

Owns        `GET /v1/entitlements/check`, `POST /v1/usage`, `POST /v1/usage/batch`, `POST /api/v1/events`, everything at
            `/v1/reservations`, `/livez`, `/readyz` and `/metrics`, on its own address.
Invariants  A decision is made by one script inside Redis, or read from Redis after the question came in; never from
            what a worker remembers. A command that may have run is never sent again. Answers leave a connection in the
            order of its requests. Nothing here outlives the process.
Tables      None. Redis is its working memory; `app.wire` names the keys, the scripts and the entries.
Neighbours  Core, over its internal listener, for an account, API key or plan snapshot that Redis does not hold. The
            flusher reads what the edge leaves in the streams.
Not mine    Prices, periods, blocks and debts: `app.rules` decides and the ledger records. Postgres is not spoken to.

A request goes `server` (HTTP) → `routes` (who asks, and what) → `rates` (how often) → `checks`, `recording`,
`reserving` or `ending` (one command, one callback) → `exchange` (one write). A CloudEvent goes through `ingesting`
first, which asks what reads it. What can stand in the way of that, such as an account that is not loaded, is met in
`attempt`.
"""
