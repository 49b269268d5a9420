"""Which URLs an endpoint may have: laws over what is accepted, then a table of what is not."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from app.rules.addresses import read_networks
from app.rules.webhook_urls import MAX_URL_LENGTH, UnusableUrl, require_url
from tests.rules.laws import LAW

hosts = st.from_regex(r"[a-zA-Z0-9_.\-\[\]:@%x]{1,20}", fullmatch=True) | st.sampled_from(
    ["hooks.example.com", "8.8.8.8", "[2606:4700::1]", "xn--bcher-kva.example", "1.2.3.com"]
)
rests = st.from_regex(r"(:[0-9]{1,6})?(/[a-z%0-9A-F.;?&=@:\\# ]{0,12})?", fullmatch=True)
urls = st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "HTTP", "ftp"]), hosts, rests) | st.text()


def is_usable(url: str, *, https_only: bool = False, allowed: str = "") -> bool:
    """Whether an endpoint may have it."""
    try:
        require_url(url, https_only=https_only, allowed=read_networks(allowed))
    except UnusableUrl:
        return False
    return True


@LAW
@given(urls)
def test_what_is_accepted_the_client_reads_as_it_is_written(url: str) -> None:
    """Same scheme, host and port as the text shows, nobody's name in it, and no address from inside."""
    if is_usable(url):
        read = URL(url)
        assert read.scheme in {"http", "https"}
        assert read.raw_user is None
        assert read.raw_fragment == ""
        authority = url.split("://")[1].replace("?", "/").split("/")[0].lower()
        assert read.raw_host is not None
        assert authority.removesuffix(f":{read.port}").strip("[]") == read.raw_host or _is_ipv6(read.raw_host)


def _is_ipv6(host: str) -> bool:
    return ":" in host and ip_address(host).is_global


@LAW
@given(urls)
def test_https_only_takes_less(url: str) -> None:
    """What passes with it passes without it, and begins with https."""
    if is_usable(url, https_only=True):
        assert url.startswith("https://")
        assert is_usable(url)


@LAW
@given(urls)
def test_what_is_allowed_takes_more(url: str) -> None:
    """A longer list of networks refuses nothing that a shorter one took."""
    assert is_usable(url, allowed="0.0.0.0/0,::/0") or not is_usable(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com?tenant=7",
        "http://example.com:8080/hooks/7?x=%2F&y=a+b",
        "https://hooks.example.com./",
        "https://localhost/",
        "https://_dmarc.example.com/",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:8443/",
        "https://1.2.3.4.example/",
        "https://0x7f.example/",
        f"https://example.com/{'a' * (MAX_URL_LENGTH - 20)}",
    ],
)
def test_what_an_endpoint_may_have(url: str) -> None:
    """Names of any kind, public addresses, a port, a path, a query."""
    require_url(url, https_only=False)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "plain"),
        ("example.com/hook", "plain"),
        ("ftp://example.com/", "plain"),
        ("HTTPS://example.com/", "plain"),
        ("https:///path", "plain"),
        ("https://user@example.com/", "plain"),
        ("https://user:password@example.com/", "plain"),
        ("https://example.com@127.0.0.1/", "plain"),
        ("https://example.com\\@127.0.0.1/", "plain"),
        ("https://example.com/#part", "plain"),
        ("https://example.com/a b", "plain"),
        ("https://example.com/\r\nHost: inside", "plain"),
        ("https://example.com/\n", "plain"),
        (" https://example.com/", "plain"),
        ("https://example.com/100%", "plain"),
        ("https://example.com:/", "plain"),
        ("https://example.com:99999999/", "plain"),
        ("https://exa\tmple.com/", "host"),
        ("https://bücher.example/", "host"),
        ("https://\uff11\uff12\uff17.0.0.1/", "host"),
        ("https://127。0。0。1/", "host"),
        ("https://%31%32%37.0.0.1/", "host"),
        ("https://-a.example/", "host"),
        ("https://a..example/", "host"),
        (f"https://{'a' * 64}.example/", "host"),
        (f"https://{'a.' * 127}example/", "host"),
        ("https://example.com:0/", "plain"),
        ("https://example.com:0443/", "plain"),
        ("https://example.com:65536/", "port"),
        ("https://127.1/", "IPv4"),
        ("https://0x7f.1/", "IPv4"),
        ("https://0x7f000001/", "IPv4"),
        ("https://2130706433/", "IPv4"),
        ("https://017700000001/", "IPv4"),
        ("https://0177.0.0.1/", "IPv4"),
        ("https://127.0.0.1./", "IPv4"),
        ("https://a.0x/", "IPv4"),
        ("https://127.0.0.1/", "public"),
        ("https://169.254.169.254/latest/meta-data", "public"),
        ("https://[::1]/", "public"),
        ("https://[::ffff:127.0.0.1]/", "public"),
        ("https://[64:ff9b::7f00:1]/", "public"),
        ("https://[fd00:ec2::254]/", "public"),
        ("https://[fe80::1%25eth0]/", "plain"),
        ("https://[1::2::3]/", "brackets"),
        ("https://[127.0.0.1]/", "brackets"),
        (f"https://example.com/{'a' * MAX_URL_LENGTH}", "longer"),
    ],
)
def test_what_no_endpoint_may_have(url: str, word: str) -> None:
    """And the reason names what is wrong."""
    with pytest.raises(UnusableUrl) as error:
        require_url(url, https_only=False)
    assert word in str(error.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://127.0.0.1:3000/", True),
        ("http://127.0.0.1:3000/", True),
        ("http://[::1]/", True),
        ("http://10.1.255.7/", True),
        ("https://10.2.0.1/", False),
        ("http://8.8.8.8/", False),
        ("http://localhost/", False),
        ("http://example.com/", False),
    ],
)
def test_http_is_for_addresses_that_are_allowed_inside(url: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    """With https asked for, a name or a public address has to have it; an address of the operator's list need not."""
    assert is_usable(url, https_only=True, allowed="127.0.0.0/8,::1/128,10.1.0.0/16") == expected
