"""One client, its books and its customers: what all operations work with."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from random import Random
from typing import Any

from loadtests.load.book import Event
from tests.chaos.client import Asker, to_micro
from tests.chaos.oracle import Oracle, Told
from tests.chaos.reservations import Reserved
from tests.flow.stack import Answer

CALLS, TOKENS, PAGES = "api_calls", "tokens", "pages"
OPEN_USERS = tuple(f"open_{number}" for number in range(12))
"""They may owe."""
TIGHT_USERS = tuple(f"tight_{number}" for number in range(8))
"""They have little, and spend with enforce only."""
MOST_UNITS = 9


@dataclass
class Shop:
    """One client: its connections, its chance, and the books that all clients share."""

    name: str
    edge: Asker
    core: Asker
    chance: Random
    oracle: Oracle
    done: Counter[str]
    left_micro: int = 0
    """What the customer has that nobody but this client uses."""
    unseen_micro: int = 0
    """Of that, what is kept to be priced later: a check need not know of it."""
    voidable: list[Event] = field(default_factory=list[Event])
    """Acknowledged with their cost, and not voided."""
    reserved: list[Reserved] = field(default_factory=list[Reserved])
    """Open or expired: not ended by this client."""
    _numbers: Iterator[int] = field(default_factory=count)

    def key(self) -> str:
        """A key that nothing else has."""
        return f"{self.name}:{next(self._numbers)}"

    def event(self, end_user_id: str, *, enforce: bool = False) -> Event:
        """Usage of a few units, noted as sent."""
        feature_key = self.chance.choice((CALLS, TOKENS))
        event = Event(end_user_id, feature_key, self.key(), self.chance.randint(1, MOST_UNITS), enforce)
        self.oracle.send(event)
        return event

    def note(self, event: Event, told: Told) -> None:
        """An answer to an event."""
        is_first = event.idempotency_key not in self.oracle.told
        self.oracle.answer(event, told)
        if is_first and told.cost_micro is not None:
            self.voidable.append(event)


def cost_of(feature_key: str, units: int) -> int:
    """What the catalogue of a run says that so many units cost, in micro-credits."""
    return to_micro(units) if feature_key == CALLS else units * 3_000


async def balance_of(shop: Shop, end_user_id: str) -> int:
    """What a check says that a customer can spend, in micro-credits."""
    answer = await shop.edge.ask("GET", "/v1/entitlements/check", end_user_id=end_user_id, feature_key=CALLS)
    return to_micro(read(answer, HTTPStatus.OK)["balance"])


async def compare_diary(shop: Shop) -> None:
    """A check of the customer whom nobody else uses includes all that was acknowledged before it."""
    shown_micro = await balance_of(shop, shop.name)
    assert 0 <= shown_micro - shop.left_micro <= shop.unseen_micro, (shop.name, shown_micro, shop.left_micro)


def read(answer: Answer, status: HTTPStatus) -> Any:
    """The body of an answer that has to have this status."""
    assert answer.status == status, (answer.status, answer.body)
    return answer.body
