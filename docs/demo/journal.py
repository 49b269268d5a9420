"""What was asked of QuotaStack for whom, and what it answered: for the page to show. A product has no need of it."""

from collections import OrderedDict, deque
from contextvars import ContextVar
from itertools import count
from time import perf_counter
from typing import Any, Final, Literal

import httpx
import msgspec

MAX_CALLS: Final = 100
"""Of a customer, that are kept."""
MAX_CUSTOMERS: Final = 1_000
"""Whose calls are kept; who was heard of last longest ago is forgotten first."""
NO_ANSWER: Final = 0

asking_for: ContextVar[str | None] = ContextVar("asking_for", default=None)
"""The customer for whom calls are made at this moment."""


class Call(msgspec.Struct, frozen=True):
    """One call: what was sent, what came back, and how long that took. Status 0 = no answer."""

    method: str
    path: str
    server: Literal["edge", "core"]
    status: int
    milliseconds: float
    asked: Any
    answered: Any
    number: int = 0


class Journal:
    """The last calls of each customer, numbered from 1 on."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, deque[Call]] = OrderedDict()
        self._numbers = count(1)

        self.edge_milliseconds = 0.0
        """What the edge took for its last answer, whoever asked."""

    def write(self, call: Call) -> None:
        """Add a call to those of the customer that is being served; of none, to those whose usage it brings."""
        if call.server == "edge" and call.status:
            self.edge_milliseconds = call.milliseconds
        customer = asking_for.get()
        shares = share_batch(call) if customer is None else {customer: call}
        for customer, share in shares.items():
            self._keep(customer, share)

    def _keep(self, customer: str, call: Call) -> None:
        calls = self._calls.setdefault(customer, deque(maxlen=MAX_CALLS))
        calls.append(msgspec.structs.replace(call, number=next(self._numbers)))
        self._calls.move_to_end(customer)
        if len(self._calls) > MAX_CUSTOMERS:
            self._calls.popitem(last=False)

    def after(self, customer: str, number: int) -> list[Call]:
        """The customer's calls with a higher number, in order."""
        return [call for call in self._calls.get(customer, ()) if call.number > number]


def share_batch(call: Call) -> dict[str, Call]:
    """A batch of usage that the client sent by itself, as each customer may see it: with their own events alone."""
    shares: dict[str, Call] = {}
    for event in call.asked.get("events", []) if isinstance(call.asked, dict) else []:
        customer = event["end_user_id"]
        share = shares.setdefault(customer, msgspec.structs.replace(call, asked={"events": []}, answered=None))
        share.asked["events"].append(event)
    return shares


class WatchedClient(httpx.AsyncClient):
    """The HTTP client that QuotaStack's own sends its requests by, each of them written down.

    Its times are those of the server and the way there and back: from the first byte that is sent to the head of the
    answer. What Python does before and after is not in them.
    """

    def __init__(self, journal: Journal, edge_url: str) -> None:
        super().__init__()
        self._journal = journal
        self._edge = httpx.URL(edge_url).netloc

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx' own
        """Send it, and write down what became of it."""
        watch = StopWatch()
        request.extensions["trace"] = watch.note
        status, answered = NO_ANSWER, None
        try:
            response = await super().send(request, **options)
            status, answered = response.status_code, read(await response.aread())
        finally:
            server = "edge" if request.url.netloc == self._edge else "core"
            path, asked = request.url.raw_path.decode(), read(request.content)
            self._journal.write(Call(request.method, path, server, status, watch.milliseconds, asked, answered))
        return response


class StopWatch:
    """Measures one request by what httpx tells of it."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._ended: float | None = None

    async def note(self, event: str, _details: object) -> None:
        """Something happened on the way."""
        if event.endswith("send_request_headers.started"):
            self._began = perf_counter()
        elif event.endswith("receive_response_headers.complete"):
            self._ended = perf_counter()

    @property
    def milliseconds(self) -> float:
        """From the first byte to the answer; to now where there is none."""
        return ((self._ended or perf_counter()) - self._began) * 1000


def read(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON it is
    """The JSON of a body; None where it has none."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
