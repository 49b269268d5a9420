"""Ids and keys that this process makes."""

from datetime import UTC, datetime, timedelta

import pytest

from app.io.ids import new_api_key, new_id, new_request_id
from app.wire.key_digest import is_well_formed


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    """Of one moment too, since what happens in one transaction has one moment; and all differ."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_id(moment + timedelta(milliseconds=number // 100)) for number in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(made.version == 7 for made in ids)


@pytest.mark.parametrize(("kind", "prefix"), [("sandbox", "qs_test_"), ("live", "qs_live_")])
def test_keys_are_well_formed_and_differ(kind: str, prefix: str) -> None:
    """Each can be told from a mistyped one."""
    keys = {new_api_key(kind) for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(prefix) and is_well_formed(key) for key in keys)


def test_request_ids_differ() -> None:
    """A request that came without one can be found in the log."""
    assert len({new_request_id() for _ in range(100)}) == 100
