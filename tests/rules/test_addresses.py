"""Where webhooks may go: laws over all addresses, then each kind of address that leads inside, by name."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.addresses import MalformedNetwork, is_forbidden, may_be_reached, read_networks
from tests.rules.laws import LAW

INSIDE = {
    "this host": ["0.0.0.0", "0.1.2.3"],  # noqa: S104 - nothing listens there
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"],
    "carrier's NAT": ["100.64.0.1", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.255.255.255", "::1"],
    "link-local": ["169.254.0.1", "fe80::1", "febf::1"],
    "cloud metadata": ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"],
    "protocol assignments": ["192.0.0.1", "192.0.0.170", "2001:1::1", "2001:10::1", "2001:20::1"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "4000::1", "5f00::1", "100::1", "1::1"],
    "broadcast": ["255.255.255.255"],
    "unspecified": ["::"],
    "unique local": ["fc00::1", "fdff::1"],
    "site local": ["fec0::1"],
    "mapped": ["::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:7f00:1"],
    "compatible": ["::127.0.0.1", "::8.8.8.8"],
    "translated": ["::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
    "6to4": ["192.88.99.1", "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::a00:1"],
    "NAT64 of one's own": ["64:ff9b:1::1", "64:ff9b:1::8.8.8.8", "64:ff9b:1:ffff::808:808"],
    "zones": ["fe80::1%eth0", "fe80::1%1", "2600::1%eth0", "::1%lo"],
    "other spellings": [
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1 ",
        "127.0.0.01",
        "127。0。0。1",
    ],
    "no address": ["", "localhost", "[::1]", "1.2.3", "1.2.3.4.5", "8.8.8.8:80", "8.8.8.8/32", "٨.8.8.8", "::g"],
}
OUTSIDE = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450::1",
    "3ffe::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)
in_2000 = st.integers(0, 2**125 - 1).map(lambda number: IPv6Address((1 << 125) + number))


@pytest.mark.parametrize(("kind", "address"), [(kind, address) for kind, some in INSIDE.items() for address in some])
def test_what_leads_inside_is_forbidden(kind: str, address: str) -> None:
    """Each kind by its first and last addresses, in each form that an address can be written in."""
    assert is_forbidden(address), kind
    assert not may_be_reached(address, []), kind


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_public_is_not(address: str) -> None:
    """The neighbours of what is forbidden among them: the borders are where they ought to be."""
    assert not is_forbidden(address)
    assert may_be_reached(address, [])


@LAW
@given(ipv4)
def test_python_calls_no_ipv4_private_that_is_let_through(address: IPv4Address) -> None:
    """The table forbids no less than the standard library's own, whatever its version."""
    assert address.is_global or is_forbidden(str(address))


@LAW
@given(st.one_of(ipv6, in_2000))
def test_python_calls_no_ipv6_private_that_is_let_through(address: IPv6Address) -> None:
    """The same; of what embeds an IPv4 address only NAT64 and mapped addresses can be public."""
    is_translated = address in IPv6Network("64:ff9b::/96") or address.ipv4_mapped
    assert is_translated or address.is_global or is_forbidden(str(address))
    assert is_translated or address in IPv6Network("2000::/3") or is_forbidden(str(address))


@LAW
@given(ipv4, st.sampled_from(["::ffff:", "64:ff9b::"]))
def test_an_embedded_address_is_judged_as_itself(address: IPv4Address, prefix: str) -> None:
    """Writing it as IPv6 opens no way, and closes none: a host without IPv4 reaches the same servers."""
    assert is_forbidden(f"{prefix}{address}") == is_forbidden(str(address))
    allowed = [ip_network(f"{address}/32")]
    assert may_be_reached(f"{prefix}{address}", allowed)


@LAW
@given(st.one_of(ipv4, ipv6), st.one_of(ipv4, ipv6))
def test_what_is_allowed_opens_itself_and_nothing_else(address: IPv4Address, other: IPv4Address) -> None:
    """A network of one address lets that one through; every other stays as it was."""
    allowed = read_networks(f"{address}/{address.max_prefixlen}")
    is_embedded = isinstance(address, IPv6Address) and (address in IPv6Network("::ffff:0:0/96"))
    assert is_embedded or may_be_reached(str(address), allowed)
    assert may_be_reached(str(other), allowed) == (other == address or not is_forbidden(str(other)))


@LAW
@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    """What is no address is forbidden, also where everything is allowed."""
    assert is_forbidden(text) or may_be_reached(text, [])
    assert text[:1].isdigit() or ":" in text or not may_be_reached(text, read_networks("0.0.0.0/0,::/0"))


def test_networks_are_read_from_a_list() -> None:
    """With commas and spaces, in both families; nothing is no network."""
    assert read_networks(" 127.0.0.0/8, ::1/128 ,10.2.0.7,") == [
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("10.2.0.7/32"),
    ]
    assert read_networks("") == []


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.0/8;::1/128", "*"])
def test_what_is_no_network_is_named(text: str) -> None:
    """An operator's slip is found at the start: also a network that means less than it says."""
    with pytest.raises(MalformedNetwork) as error:
        read_networks(f"127.0.0.0/8,{text}")
    assert repr(text) in str(error.value)
