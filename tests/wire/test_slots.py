"""Slots and addresses of a cluster."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import keys
from app.wire.slots import SLOTS, Range, is_cluster, node_url, node_urls, read_ranges, slot_of, slots_of_partitions

REF = keys.account_ref(keys.environment_ref(UUID(int=1)), "end {of} user")
EVENT = UUID(bytes=b"}{" * 8)
ENVIRONMENT = keys.environment_ref(UUID(int=2))
OF_A_PARTITION = (
    keys.stream,
    keys.meta,
    lambda p: keys.account(p, REF),
    lambda p: keys.load_token(p, REF),
    lambda p: keys.seen(p, ENVIRONMENT, EVENT),
    lambda p: keys.retried(p, ENVIRONMENT, EVENT),
    lambda p: keys.used(p, REF),
    lambda p: keys.gauge(p, REF),
    lambda p: keys.gauge_due(p, REF),
    lambda p: keys.reservation(p, ENVIRONMENT, EVENT),
    keys.due,
)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),
        (b"{user1000}.following", slot_of(b"user1000")),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", slot_of(b"{bar")),
        (b"foo{bar}{zap}", slot_of(b"bar")),
        (b"foo}{bar", slot_of(b"foo}{bar")),
    ],
)
def test_the_slot_is_that_of_the_tag(key: bytes, slot: int) -> None:
    """The cases that the cluster's specification gives."""
    assert slot_of(key) == slot
    assert slot < SLOTS


@given(st.integers(0, 4095))
def test_all_keys_of_a_partition_have_its_slot(partition: int) -> None:
    """Whatever stands in the rest of a key; and its tag is the first thing in braces."""
    slots = slots_of_partitions(partition + 1)
    for name in OF_A_PARTITION:
        key = name(partition)
        assert slot_of(key) == slots[partition]
        assert key.startswith(keys.tag(partition))


def test_keys_without_a_partition_have_no_brace() -> None:
    """So a command that has one names a partition, before anything else that may have one."""
    for key in (keys.AGREEMENT, keys.plan("0af"), keys.api_key(b"{}" * 16)):
        assert b"{" not in key


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://one:1,two:2", ["redis://one:1", "redis://two:2"]),
        (
            "rediss+cluster://me:p%40ss@one:1,[::1]:2?a=b",
            ["rediss://me:p%40ss@one:1?a=b", "rediss://me:p%40ss@[::1]:2?a=b"],
        ),
    ],
)
def test_an_address_names_servers(url: str, nodes: list[str]) -> None:
    """Each with the user and the options of the whole."""
    assert is_cluster(url)
    assert node_urls(url) == nodes


def test_the_address_of_a_server_that_was_learned() -> None:
    """It has what the cluster's address says beside the hosts."""
    assert node_url("rediss+cluster://me:secret@one:1,two:2?a=b", ("::1", 7)) == "rediss://me:secret@[::1]:7?a=b"
    assert not any(is_cluster(url) for url in ("redis://one:1", "unix:///a/b"))


def test_what_a_server_says_of_slots() -> None:
    """Replicas are left out; a primary without a host is where it was asked."""
    reply = [[0, 5, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.2", 7001, b"id"]], [6, 6, [None, 7002, b"id"]]]
    assert read_ranges(reply, "asked") == [Range(0, 5, ("10.0.0.1", 7000)), Range(6, 6, ("asked", 7002))]
