"""What the edge reads, another reader of HTTP reads alike: h11."""

import pytest

from tests.edge.h11_reader import Read, read_by_h11
from tests.edge.hand_made import Host, Transport, connect
from tests.edge.malformed import make_stream

SEEDS = range(10)
STREAMS_OF_A_SEED = 200


def read_by_edge(sent: bytes) -> list[Read]:
    """The requests that the edge would answer."""
    host, transport = Host(), Transport()
    connect(host, transport).data_received(sent)
    return [
        Read(exchange.method, exchange.path + b"?" * bool(exchange.query) + exchange.query, exchange.body)
        for exchange in host.exchanges
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_requests_are_the_same(seed: int) -> None:
    """One after the other, up to where either refuses: method, target and body."""
    agreed = 0
    for number in range(seed * STREAMS_OF_A_SEED, (seed + 1) * STREAMS_OF_A_SEED):
        sent = make_stream(number, "key", "key").sent
        for ours, theirs in zip(read_by_edge(sent), read_by_h11(sent), strict=False):
            assert ours == theirs, f"stream {number}: {sent!r}"
            agreed += 1
    assert agreed > STREAMS_OF_A_SEED / 2
