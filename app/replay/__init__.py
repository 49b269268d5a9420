"""`quotastack replay`: meters a CSV of model requests through the public API, exactly, however often it is run.

Owns        how a file becomes events, the keys that they carry, and how they are sent until each is accepted.
Invariants  a row's user and its keys follow from the file alone, so a second run, or one after a crash, adds nothing;
            the whole file is looked at before anything is sent; a run ends well only when every event was accepted.
Tables      none.
Neighbours  `app.io.outbound` (HTTP), `app.wire.codes` (what passes by waiting), `app.rules.credits`.
Not mine    whatever is behind the API: this is a client like any other.
"""
