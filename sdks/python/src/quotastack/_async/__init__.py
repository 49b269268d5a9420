"""The client's source. `_sync` is made from it by scripts/make_sync.py."""
