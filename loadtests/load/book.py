"""What was sent, and what was acknowledged of it: the load generator's own books, by idempotency key."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Entry = tuple[str, str]
"""A customer and a feature."""


MAX_EVENTS = 3_000_000
"""Of one run: about a gigabyte of keys."""


class BookFull(Exception):
    """A run has more events than can be noted."""


class Contradiction(Exception):
    """An event was acknowledged and refused under one key."""


class Event(NamedTuple):
    """One event of usage, in whole units: sent as such, or the commit of a reservation."""

    end_user_id: str
    feature_key: str
    idempotency_key: str
    units: int
    enforce: bool = False
    reservation_id: str = ""
    """As clients see it, of the reservation that this commits."""

    @property
    def path(self) -> str:
        """Where it is sent."""
        return f"/v1/reservations/{self.reservation_id}/commit" if self.reservation_id else "/v1/usage"

    @property
    def entry(self) -> Entry:
        """Where it is counted."""
        return self.end_user_id, self.feature_key

    def body(self) -> dict[str, object]:
        """What is sent of it."""
        if self.reservation_id:
            return {"units": self.units}
        body = {**self._asdict()}
        del body["reservation_id"]
        if not self.enforce:
            del body["enforce"]
        return body


class Total(NamedTuple):
    """Events and their units."""

    events: int
    units: int

    def plus(self, units: int) -> "Total":
        """With one event more."""
        return Total(self.events + 1, self.units + units)


NOTHING = Total(0, 0)


class Book:
    """Events by their idempotency keys, each counted once however often it was sent and answered."""

    def __init__(self, totals: Mapping[Entry, Total] | None = None) -> None:
        self._open: dict[tuple[str, str, str], Event] = {}
        self._accepted: dict[tuple[str, str, str], bool] = {}
        self.totals: dict[Entry, Total] = dict(totals or {})
        """What was acknowledged, and has to be in the ledger."""
        self.sent: dict[Entry, Total] = {}
        """What may be in the ledger at this moment."""

    @property
    def acknowledged(self) -> int:
        """Events that have to be in the ledger."""
        return sum(total.events for total in self.totals.values())

    @property
    def unanswered(self) -> list[Event]:
        """Sent, and nobody knows what became of them."""
        return list(self._open.values())

    def send(self, event: Event) -> None:
        """Note an event before it is sent, for the first time or again. Raises BookFull."""
        key = event[:3]
        if key in self._open or key in self._accepted:
            return
        if len(self._open) + len(self._accepted) >= MAX_EVENTS:
            raise BookFull(f"the run has more than {MAX_EVENTS:,} events: make it shorter, or take fewer users")
        self._open[key] = event
        self.sent[event.entry] = self.sent.get(event.entry, NOTHING).plus(event.units)

    def decide(self, event: Event, *, is_accepted: bool) -> None:
        """Note an answer. Raises Contradiction where an earlier one said otherwise."""
        key = event[:3]
        if key in self._accepted:
            if self._accepted[key] != is_accepted:
                raise Contradiction(
                    f"{event.idempotency_key} was {_words(not is_accepted)}, then {_words(is_accepted)}"
                )
            return
        self._accepted[key] = is_accepted
        self._open.pop(key, None)
        if is_accepted:
            self.totals[event.entry] = self.totals.get(event.entry, NOTHING).plus(event.units)

    def as_json(self) -> dict[str, object]:
        """For the other process: the sums, and what is left to be asked again."""
        totals = [[*entry, *total] for entry, total in self.totals.items()]
        return {"totals": totals, "unanswered": [list(event) for event in self.unanswered]}


def read_book(content: Mapping[str, list[list[object]]]) -> Book:
    """What `as_json` made."""
    book = Book({(str(user), str(feature)): Total(*sums) for user, feature, *sums in content["totals"]})  # type: ignore[arg-type]
    for fields in content["unanswered"]:
        book.send(Event(*fields))  # type: ignore[arg-type]
    return book


def differences(expected: Mapping[Entry, Total], found: Mapping[Entry, Total]) -> Iterator[str]:
    """In words, where the ledger has other sums than were acknowledged."""
    for entry in sorted({*expected, *found}):
        ours, theirs = expected.get(entry, NOTHING), found.get(entry, NOTHING)
        if ours != theirs:
            yield (
                f"{entry[0]}, {entry[1]}: acknowledged {ours.events} events of {ours.units} units, "
                f"in the ledger {theirs.events} events of {theirs.units} units"
            )


def repeated(keys: Iterable[str]) -> list[str]:
    """The keys that come more than once."""
    seen: set[str] = set()
    twice: set[str] = set()
    for key in keys:
        (twice if key in seen else seen).add(key)
    return sorted(twice)


def _words(is_accepted: bool) -> str:  # noqa: FBT001 - what it turns into words
    return "accepted" if is_accepted else "refused"
