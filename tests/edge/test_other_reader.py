"""What the edge reads, another reader of HTTP reads alike: h11, which was written by others from the same RFCs."""

from typing import NamedTuple

import h11
import pytest

from tests.edge.hand_made import Host, Transport, connect
from tests.edge.malformed import make_stream

SEEDS = range(10)
STREAMS_OF_A_SEED = 200
MOST_BYTES = 1 << 16


class Read(NamedTuple):
    """One request as it was understood."""

    method: bytes
    target: bytes
    body: bytes


def read_by_edge(sent: bytes) -> list[Read]:
    """The requests that the edge would answer."""
    host, transport = Host(), Transport()
    connect(host, transport).data_received(sent)
    return [
        Read(exchange.method, exchange.path + b"?" * bool(exchange.query) + exchange.query, exchange.body)
        for exchange in host.exchanges
    ]


def read_by_h11(sent: bytes) -> list[Read]:
    """The requests before the first that h11 refuses; each is answered, so that it goes on to the next."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
    reader.receive_data(sent)
    requests: list[Read] = []
    request, body = h11.Request(method="GET", target="/", headers=[("Host", "none")]), b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests.append(Read(request.method, request.target, body))
                reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE:
                    return requests
                reader.start_next_cycle()
            else:
                return requests
    except h11.RemoteProtocolError:
        return requests


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
