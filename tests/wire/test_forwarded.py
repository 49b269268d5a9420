"""Whose request it is, by what proxies say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.addresses import read_networks
from app.wire.forwarded import address_of, client_of

TRUSTED = read_networks("127.0.0.0/8, ::1/128,10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", "2001:db8:1:2::/64"),
        ("", "198.51.100.7", ""),
        ("testclient", "198.51.100.7", "testclient"),
    ],
)
def test_who_it_is(peer: str, forwarded_for: str, client: str) -> None:
    """The last that is no trusted proxy; from anybody else the header says nothing."""
    assert client_of(peer, forwarded_for, TRUSTED) == client


@given(st.text("0123456789.,: ", max_size=60), st.ip_addresses(v=4).map(str))
def test_a_client_cannot_choose_who_it_is(invented: str, client: str) -> None:
    """Whatever it writes into the header, before the trusted proxy adds to it."""
    expected = client_of(client, "", TRUSTED)
    told = client_of("127.0.0.1", f"{invented}, {client}", TRUSTED)
    assert told == expected or expected.startswith(("127.", "10."))


def test_many_hops_cost_little() -> None:
    """Only the last ones are looked at."""
    assert client_of("127.0.0.1", "192.0.2.1," + "10.0.0.1," * 10_000 + "10.0.0.2", TRUSTED) == "10.0.0.1"


@given(st.ip_addresses().map(str))
def test_who_comes_next_knows_the_client_too(client: str) -> None:
    """What one trusted process tells another leads to the same client."""
    told = address_of(client, "", TRUSTED)
    assert client_of("127.0.0.1", told, TRUSTED) == client_of(client, "", TRUSTED)
