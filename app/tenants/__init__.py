"""Who may ask: tenants, their two environments, their API keys.

Owns        tenants, environments (sandbox and live), API keys as digests.
Invariants  20, 53 to 55 (nothing crosses an environment), 58 (no key is stored or logged in clear: it is shown once),
            71 (what is revoked is refused everywhere within a second), 72 (nobody hands on what they lack).
Tables      tenants, environments, api_keys. Core reaches the first two through two functions only, `authenticate_key`
            and `create_tenant`. Where a sandbox's test clock stands is read here for everyone (test_clocks writes it).
Neighbours  Above: everyone, through `web.Principal`. The edge asks for keys that Redis does not have; jobs puts right
            what Redis says of those that changed.
Not mine    What a principal may do: `needs(...)` at each route says it.
"""
