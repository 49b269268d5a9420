"""Events on their way: several batches at a time, each again with the same keys until every event is accepted."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Final

import msgspec

from app.io.outbound import Answer
from app.replay.client import PASSING_STATUSES, Client, Patience, decode, describe
from app.replay.errors import ReplayError
from app.replay.parallel import for_each
from app.replay.plan import UsageEvent
from app.rules.credits import MAX_COST_MICRO, NotAnAmount, to_micro
from app.wire.codes import MEANINGS

PATH: Final = "/v1/usage/batch"
PATIENCE_SECONDS: Final = 120
"""For one batch, with all its attempts."""
_PASSING_CODES: Final = {code.value for code, meaning in MEANINGS.items() if meaning.status in PASSING_STATUSES}


class Tally:
    """What was accepted so far; `replayed` of it had been accepted before."""

    def __init__(self) -> None:
        self.accepted = 0
        self.replayed = 0
        self.units: Counter[str] = Counter()
        self.cost_micro: Counter[str] = Counter()

    def add(self, event: UsageEvent, *, cost_micro: int, is_replayed: bool) -> None:
        """Count an event that was accepted."""
        self.accepted += 1
        self.replayed += is_replayed
        self.units[event.feature_key] += event.units
        self.cost_micro[event.feature_key] += cost_micro


class Result(msgspec.Struct, frozen=True):
    """What the API says of one event of a batch."""

    status: str
    replayed: bool = False
    cost: Decimal | None = None
    durability: str = "stored"
    code: str | None = None
    detail: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it is on record, with what it costs."""
        return self.status == "accepted" and self.durability == "stored"

    @property
    def is_passing(self) -> bool:
        """Whether it may be accepted a moment later."""
        return self.code in _PASSING_CODES or self.durability != "stored"


class BatchAnswer(msgspec.Struct, frozen=True):
    """The body of a 202, in the order of the batch."""

    results: list[Result]


async def send_batches(
    client: Client, batches: Iterable[Sequence[UsageEvent]], advance: Callable[[int], None]
) -> Tally:
    """Send everything, and tell `advance` how many events were accepted whenever some were. Raises ReplayError."""
    tally = Tally()

    async def send(batch: Sequence[UsageEvent]) -> None:
        waiting, patience = batch, Patience(PATIENCE_SECONDS)
        while True:
            answer = await client.send("POST", PATH, {"events": waiting}, patience)
            refused = _settle(waiting, _read_results(answer, len(waiting)), tally)
            advance(len(waiting) - len(refused))
            if not refused:
                return
            waiting = [event for event, _ in refused]
            await patience.wait(_explain(*refused[0]))

    await for_each(batches, send)
    return tally


def _read_results(answer: Answer, expected: int) -> list[Result]:
    if answer.status != HTTPStatus.ACCEPTED:
        raise ReplayError(describe("POST", PATH, answer))
    results = decode("POST", PATH, answer, BatchAnswer).results
    if len(results) != expected:
        raise ReplayError(f"POST {PATH} was answered with {len(results)} results for {expected} events")
    return results


def _settle(events: Sequence[UsageEvent], results: list[Result], tally: Tally) -> list[tuple[UsageEvent, Result]]:
    """Count what was accepted; answers what is to be sent again. Raises ReplayError for what never will be accepted."""
    refused: list[tuple[UsageEvent, Result]] = []
    for event, result in zip(events, results, strict=True):
        if result.is_accepted:
            tally.add(event, cost_micro=_cost_micro(event, result), is_replayed=result.replayed)
        elif result.is_passing:
            refused.append((event, result))
        else:
            raise ReplayError(_explain(event, result))
    return refused


def _cost_micro(event: UsageEvent, result: Result) -> int:
    try:
        return to_micro(Decimal(0) if result.cost is None else result.cost, MAX_COST_MICRO)
    except NotAnAmount as error:
        raise ReplayError(f"the cost {result.cost} of the event {event.idempotency_key} {error}") from error


def _explain(event: UsageEvent, result: Result) -> str:
    named = f"the event {event.idempotency_key} of {event.end_user_id}"
    if result.code is None:
        return f"{named} is {result.durability}, and not taken in yet"
    return f"{named} was {result.status} with {result.code}: {' '.join((result.detail or '').split())}"
