"""Shapes, choices, addresses: what a load may be and where it may go."""

import ipaddress
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.load.addresses import AddressRefused, loopback_url
from loadtests.load.choosing import heavy_tail
from loadtests.load.plan import MAX_SECONDS, MAX_USERS
from loadtests.load.stages import STAGES, users_at

USERS = st.integers(1, MAX_USERS)
SECONDS = st.integers(1, MAX_SECONDS)
SHAPES = st.sampled_from(sorted(STAGES))


@given(SHAPES, USERS, SECONDS, st.floats(0, 1, exclude_max=True))
def test_shape_has_users_all_the_time_and_never_too_many(shape: str, users: int, seconds: int, share: float) -> None:
    """At every moment of a run somebody is there, and no more than were asked for."""
    now = users_at(STAGES[shape](users, seconds), share * seconds)
    assert now is not None
    assert 1 <= now <= users


@given(SHAPES, USERS, SECONDS, st.floats(0, 10**9))
def test_shape_ends_by_itself(shape: str, users: int, seconds: int, overtime: float) -> None:
    """Once its time is over there is nobody, for ever."""
    assert users_at(STAGES[shape](users, seconds), seconds + overtime) is None


@given(SHAPES, USERS, SECONDS)
def test_shape_comes_to_all_of_its_users(shape: str, users: int, seconds: int) -> None:
    """Stages follow one another in time, and one of them has all users."""
    stages = STAGES[shape](users, seconds)
    assert max(stage.users for stage in stages) == users
    assert all(earlier.until_seconds < later.until_seconds for earlier, later in pairwise(stages))
    assert stages[-1].until_seconds == seconds


@given(USERS, SECONDS)
def test_ramp_never_goes_down_and_a_spike_does(users: int, seconds: int) -> None:
    """A ramp only rises; a spike ends as it began."""
    ramp = [stage.users for stage in STAGES["ramp"](users, seconds)]
    assert ramp == sorted(ramp)
    first, _, last = [stage.users for stage in STAGES["spike"](users, seconds)]
    assert first == last


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_choice_is_one_of_those_that_are_there(count: int, share: float) -> None:
    """Whatever is drawn."""
    assert 0 <= heavy_tail(count, share) < count


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_choice_never_falls_as_the_share_rises(count: int, one: float, other: float) -> None:
    """So that the share of draws up to any customer can be worked out."""
    assert heavy_tail(count, min(one, other)) <= heavy_tail(count, max(one, other))


def test_few_do_most() -> None:
    """Of a thousand customers the first does a tenth, and the first eighth does half."""
    draws = 100_000
    drawn = Counter(heavy_tail(1000, (number + 0.5) / draws) for number in range(draws))
    assert drawn[0] / draws == pytest.approx(0.1, abs=0.001)
    assert sum(drawn[number] for number in range(125)) / draws == pytest.approx(0.5, abs=0.001)


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_only_loopback_is_taken(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    """Of all addresses, those of this machine, with or without a slash at the end."""
    host = f"[{address}]" if address.version == 6 else str(address)
    url = f"http://{host}:{port}"
    if address.is_loopback:
        assert loopback_url(f"{url}/") == url
    else:
        with pytest.raises(AddressRefused, match="loopback addresses only"):
            loopback_url(url)


@given(st.ip_addresses(network="127.0.0.0/8"))
def test_all_of_the_loopback_network_is_this_machine(address: ipaddress.IPv4Address) -> None:
    """Not 127.0.0.1 alone."""
    assert loopback_url(f"http://{address}:8000") == f"http://{address}:8000"


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://[::1]:8001", "http://127.0.0.1"])
def test_usual_names_of_this_machine_are_taken(url: str) -> None:
    """As they are."""
    assert loopback_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:8000",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://user:secret@127.0.0.1",
        "http://0.0.0.0:8000",
        "http://2130706433",
        "http://127.1",
        "https://127.0.0.1",
        "http://127.0.0.1/path",
        "http://127.0.0.1?query",
        "http://127.0.0.1#fragment",
        "http://127.0.0.1:port",
        "http://",
        "127.0.0.1:8000",
        "",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    """Names that only look like this machine, and what is no base address at all."""
    with pytest.raises(AddressRefused):
        loopback_url(url)
