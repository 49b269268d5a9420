"""What clients were told of reservations, and where the ledger says otherwise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadtests.load.book import repeated

REFUSED = "refused"


@dataclass
class Reserved:
    """A reservation as its client knows it."""

    end_user_id: str
    feature_key: str
    key: str
    units: int
    reservation_id: str = ""
    """Empty until the opening is answered, and where it was refused."""
    reserved_micro: int = 0
    due_at: int = 0
    """As it was told last; a request that nobody waited for may have moved it further."""
    state: str = "open"
    """What the last answer said: open | committed | released | expired | refused."""
    committed: tuple[int, int] | None = None
    """Units and micro-credits of an acknowledged commit."""
    is_late: bool = False
    """The commit came after it had expired."""


class PostedReservation(NamedTuple):
    """A reservation as the ledger has it, with the event that its commit is; times in microseconds."""

    reservation_id: str
    end_user_id: str
    feature_key: str
    key: str | None
    state: str
    reserved_micro: int
    debt_micro: int
    due_at: int
    ended_at: int | None
    used: tuple[int, int] | None
    """Units and micro-credits of the event; None where there is none."""


def reservation_differences(
    told: Iterable[Reserved], posted: Sequence[PostedReservation], enforced: Iterable[str]
) -> Iterator[str]:
    """In words. `enforced`: whose openings may never take what the customer has not."""
    yield from (
        f"{name} or its commit is in the ledger twice" for name in repeated(one.reservation_id for one in posted)
    )
    found = {one.reservation_id: one for one in posted}
    expected = {one.reservation_id: one for one in told if one.reservation_id}
    yield from (
        f"{name} is in the ledger, and nobody was told of it" for name in sorted(found.keys() - expected.keys())
    )
    for name, one in expected.items():
        if name not in found:
            yield f"{one.key}: its opening was acknowledged, and is lost"
        else:
            yield from (f"{one.key}: {what}" for what in _compare(one, found[name]))
    for one in told:
        if not one.reservation_id and one.state != REFUSED:
            yield f"{one.key}: its opening was never answered"
    never_owing = set(enforced)
    for one in posted:
        if one.end_user_id in never_owing and one.debt_micro:
            yield f"{one.key}: its opening overspent by {one.debt_micro}"


def _compare(told: Reserved, found: PostedReservation) -> Iterator[str]:
    if found[1:4] != (told.end_user_id, told.feature_key, told.key) or found.reserved_micro != told.reserved_micro:
        yield f"was told as {told}, and is {found}"
    if told.state == "open":
        if found.state not in {"open", "expired"}:
            yield f"nobody ended it, and it is {found.state}"
    elif found.state != told.state:
        yield f"was {told.state}, and is {found.state}"
    if found.state == "expired" and (found.ended_at or 0) < told.due_at:
        yield f"expired at {found.ended_at}, and was due at {told.due_at}"
    if found.used != told.committed:
        yield f"a commit of {told.committed} (units, cost) was acknowledged, and the ledger has {found.used}"


def held_micro(posted: Iterable[PostedReservation]) -> Mapping[str, int]:
    """What open reservations hold, by end user."""
    held: dict[str, int] = {}
    for one in posted:
        if one.state == "open":
            held[one.end_user_id] = held.get(one.end_user_id, 0) + one.reserved_micro
    return held


def used_micro(posted: Iterable[PostedReservation]) -> Mapping[str, int]:
    """What commits cost, by end user."""
    used: dict[str, int] = {}
    for one in posted:
        used[one.end_user_id] = used.get(one.end_user_id, 0) + (one.used[1] if one.used else 0)
    return used
