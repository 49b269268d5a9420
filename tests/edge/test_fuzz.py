"""Whatever bytes come, in whatever pieces: no fault of ours, one answer per request, in order."""

import random
import re

import pytest

from tests.edge.hand_made import Host, Transport, connect

SEEDS = range(40)
PIECES = (
    b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n",
    b"HEAD /livez HTTP/1.1\r\nHost: edge\r\n\r\n",
    b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 5\r\n\r\n{...}",
    b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 5000\r\n\r\n",
    b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nA: b\r\n\r\n",
    b"\r\n",
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.mark.parametrize("seed", SEEDS)
def test_any_bytes(seed: int) -> None:
    """Good requests, some of them damaged, cut anywhere, and answered at any time in any order."""
    chance = random.Random(seed)
    for _ in range(50):
        host, transport = Host(), Transport()
        connection = connect(host, transport)
        data = bytearray(b"".join(chance.choice(PIECES) for _ in range(chance.randint(1, 6))))
        for _ in range(chance.choice((0, 0, 1, 3))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        waiting: list[int] = []
        while data:
            length = chance.choice((1, 7, 50, 1000))
            connection.data_received(bytes(data[:length]))
            del data[:length]
            waiting += range(len(waiting), len(host.exchanges))
            for number in chance.sample(waiting, chance.randint(0, len(waiting))):
                if host.exchanges[number].answer is None:
                    host.exchanges[number].respond(200, b"{}", b"X-Number: %d\r\n" % number)
        for number, exchange in enumerate(host.exchanges):
            if exchange.answer is None:
                exchange.respond(200, b"{}", b"X-Number: %d\r\n" % number)
        statuses = [int(status) for status in STATUS.findall(transport.written)]
        assert set(statuses) <= {100, 200, 400, 405, 413}
        assert statuses.count(200) == len(host.exchanges)
        numbers = [int(number) for number in re.findall(rb"X-Number: (\d+)", transport.written)]
        assert numbers == list(range(len(host.exchanges)))
        assert len([status for status in statuses if status >= 400]) <= 1
