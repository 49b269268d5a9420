"""Another reader of HTTP, written by others from the same RFCs."""

from typing import NamedTuple

import h11

MOST_BYTES = 1 << 16


class Read(NamedTuple):
    """One request as it was understood."""

    method: bytes
    target: bytes
    body: bytes


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
