# Made from _async by scripts/make_sync.py: change it there.
"""The client's source. `_sync` is made from it by scripts/make_sync.py."""
