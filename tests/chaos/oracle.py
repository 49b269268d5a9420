"""What clients were told, kept beside the product, and what has to be in the ledger therefore."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtests.load.book import Event, repeated
from tests.chaos.reservations import PostedReservation, Reserved, held_micro, reservation_differences, used_micro


class Contradiction(AssertionError):
    """Two answers under one key that cannot both be right."""


class Told(NamedTuple):
    """What the answer to an event said."""

    is_accepted: bool
    cost_micro: int | None = None
    """None where it was refused, or taken in to be priced later."""
    event_id: str | None = None


REFUSED = Told(False)  # noqa: FBT003 - it is not accepted


class PostedEvent(NamedTuple):
    """An event as the ledger has it."""

    end_user_id: str
    feature_key: str
    idempotency_key: str
    units: int
    cost_micro: int
    debt_micro: int
    is_voided: bool


class Figures(NamedTuple):
    """What the ledger says of one customer, in micro-credits."""

    total_micro: int
    credited_micro: int
    expired_micro: int


@dataclass(frozen=True)
class Ledger:
    """What the ledger has."""

    events: list[PostedEvent]
    figures: Mapping[str, Figures]
    """By end user."""
    rejected: list[str] = field(default_factory=list[str])
    """In words, what could not be posted."""
    reservations: list[PostedReservation] = field(default_factory=list[PostedReservation])
    """The events of their commits are here, and not in `events`."""


@dataclass
class Oracle:
    """The books of all clients; every key is one that no other event, grant or top-up has."""

    sent: dict[str, Event] = field(default_factory=dict[str, Event])
    told: dict[str, Told] = field(default_factory=dict[str, Told])
    credited: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Acknowledged grants and top-ups by key: (end user, micro-credits)."""
    voided: set[str] = field(default_factory=set[str])
    """Keys of events whose void was acknowledged."""
    reserved: list[Reserved] = field(default_factory=list[Reserved])
    """Every reservation, from before its opening was sent; its client keeps it up to date."""

    def send(self, event: Event) -> None:
        """Note an event before it is sent for the first time."""
        self.sent[event.idempotency_key] = event

    def answer(self, event: Event, told: Told) -> None:
        """Note an answer. Raises Contradiction where an earlier one said otherwise."""
        key = event.idempotency_key
        before = self.told.setdefault(key, told)
        are_priced = before.cost_micro is not None and told.cost_micro is not None
        if before[::2] != told[::2] or (are_priced and before != told):
            raise Contradiction(f"{key} was answered with {before}, then with {told}")
        if before.cost_micro is None:
            self.told[key] = told

    def credit(self, end_user_id: str, key: str, amount_micro: int) -> None:
        """Note an acknowledged grant or top-up."""
        self.credited[key] = end_user_id, amount_micro

    def void(self, key: str) -> None:
        """Note an acknowledged void of an event."""
        self.voided.add(key)

    @property
    def acknowledged(self) -> int:
        """Events that have to be in the ledger."""
        return sum(told.is_accepted for told in self.told.values())


def differences(oracle: Oracle, ledger: Ledger, enforced: Iterable[str]) -> Iterator[str]:
    """In words, where the ledger is not what clients were told. `enforced`: who may never owe anything."""
    yield from (f"{key} is in the ledger twice" for key in repeated(event.idempotency_key for event in ledger.events))
    yield from (f"rejected: {what}" for what in ledger.rejected)
    posted = {event.idempotency_key: event for event in ledger.events}
    yield from _event_differences(oracle, posted)
    yield from reservation_differences(oracle.reserved, ledger.reservations, enforced)
    yield from _credit_differences(oracle, ledger)
    never_owing = set(enforced)
    for event in posted.values():
        if event.end_user_id in never_owing and event.debt_micro:
            yield f"{event.idempotency_key} overspent by {event.debt_micro}, and was sent with enforce"


def _event_differences(oracle: Oracle, posted: Mapping[str, PostedEvent]) -> Iterator[str]:
    for key in sorted(posted.keys() - oracle.sent.keys()):
        yield f"{key} is in the ledger, and nobody sent it"
    for key, event in oracle.sent.items():
        told, found = oracle.told.get(key), posted.get(key)
        if told is None:
            yield f"{key} was never answered"
        elif told.is_accepted and found is None:
            yield f"{key} was acknowledged, and is lost"
        elif found is not None:
            yield from _compare(event, told, found, is_voided=key in oracle.voided)


def _compare(event: Event, told: Told, found: PostedEvent, *, is_voided: bool) -> Iterator[str]:
    key = event.idempotency_key
    if not told.is_accepted:
        yield f"{key} was refused, and is in the ledger"
    if event[:4] != found[:4]:
        yield f"{key} was sent as {event}, and is {found}"
    if told.cost_micro not in {None, found.cost_micro}:
        yield f"{key} was acknowledged at {told.cost_micro}, and cost {found.cost_micro}"
    if is_voided != found.is_voided:
        yield f"{key} was {'' if is_voided else 'not '}voided, and the ledger says otherwise"


def _credit_differences(oracle: Oracle, ledger: Ledger) -> Iterator[str]:
    credited: Counter[str] = Counter()
    used: dict[str, int] = defaultdict(int, used_micro(ledger.reservations))
    held = held_micro(ledger.reservations)
    for end_user_id, amount_micro in oracle.credited.values():
        credited[end_user_id] += amount_micro
    for event in ledger.events:
        used[event.end_user_id] += 0 if event.is_voided else event.cost_micro
    for end_user_id, figures in ledger.figures.items():
        if figures.credited_micro != credited[end_user_id]:
            yield f"{end_user_id} was told of {credited[end_user_id]} credited, and has {figures.credited_micro}"
        left_micro = credited[end_user_id] - used[end_user_id] - figures.expired_micro - held.get(end_user_id, 0)
        if figures.total_micro != left_micro:
            yield f"{end_user_id} has {figures.total_micro}, and {left_micro} should be left"
    for end_user_id in sorted(credited.keys() - ledger.figures.keys()):
        yield f"{end_user_id} is not in the ledger"
