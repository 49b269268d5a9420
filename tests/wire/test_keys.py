"""Names in Redis: unambiguous, in one slot per customer, the same for ever."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import keys
from tests.rules.laws import LAW

environments, end_users = st.uuids(), st.text(max_size=40)
partitions = st.integers(1, 1024)


def slot(key: bytes) -> bytes:
    """What a cluster hashes: the text within the first braces."""
    head, _, rest = key.partition(b"{")
    assert not head
    return rest.partition(b"}")[0]


@LAW
@given(environments, end_users)
def test_account_ref_is_parsed_back(environment_id: UUID, end_user_id: str) -> None:
    """A ref names one customer of one environment, whatever characters the tenant's id has."""
    ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
    assert keys.parse_account_ref(ref) == (environment_id, end_user_id)


@LAW
@given(st.tuples(environments, end_users), st.tuples(environments, end_users))
def test_customers_do_not_share_refs(first: tuple[UUID, str], second: tuple[UUID, str]) -> None:
    """20: no two customers, of one environment or two, have the same name."""
    refs = {keys.account_ref(keys.environment_ref(environment), user) for environment, user in (first, second)}
    assert len(refs) == len({first, second})


@LAW
@given(environments, end_users, partitions, environments)
def test_one_slot(environment_id: UUID, end_user_id: str, count: int, event_id: UUID) -> None:
    """All keys that one script touches are in the slot of the customer's partition, braces in the user's id or not."""
    ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
    partition = keys.partition_of(ref, count)
    assert 0 <= partition < count
    names = [
        keys.account(partition, ref),
        keys.load_token(partition, ref),
        keys.seen(partition, keys.environment_ref(environment_id), event_id),
        keys.reservation(partition, keys.environment_ref(environment_id), event_id),
        keys.due(partition),
        keys.stream(partition),
        keys.meta(partition),
        keys.gauge(partition, ref),
        keys.gauge_due(partition, ref),
    ]
    assert len(set(names)) == len(names)
    assert {slot(name) for name in names} == {b"%d" % partition}
    assert keys.load_token_of(names[0]) == names[1]
    assert keys.used_beside(names[0]) == keys.used(partition, ref)
    assert keys.gauges_of(names[0]) == tuple(names[-2:])
    assert keys.split_tag(names[0]) == (keys.tag(partition), b":acct:" + ref)


@LAW
@given(environments, st.integers(0, 63), environments)
def test_a_reservation_is_found_from_what_is_due(environment_id: UUID, partition: int, reservation_id: UUID) -> None:
    """A member of `due` leads to the hash and to the id, and the id to the member."""
    environment = keys.environment_ref(environment_id)
    member = keys.due_member(environment, reservation_id)
    assert keys.reservation_of(partition, member) == keys.reservation(partition, environment, reservation_id)
    assert keys.reservation_id_of(member) == reservation_id


@pytest.mark.parametrize(
    ("end_user_id", "partition"), [("user_1", 45), ("user_2", 23), ("größe", 11), ("", 37), ("a" * 256, 40)]
)
def test_partitions_stay(end_user_id: str, partition: int) -> None:
    """A customer's partition may never change: their stream and account are there."""
    ref = keys.account_ref(keys.environment_ref(UUID(int=1)), end_user_id)
    assert keys.partition_of(ref, 64) == partition


def test_partitions_are_used_evenly() -> None:
    """Ten thousand customers with consecutive names: no partition has twice its share."""
    environment = keys.environment_ref(UUID(int=1))
    loads = [0] * 64
    for number in range(10_000):
        loads[keys.partition_of(keys.account_ref(environment, f"user_{number}"), 64)] += 1
    assert max(loads) < 2 * 10_000 / 64
    assert min(loads) > 10_000 / 64 / 2
