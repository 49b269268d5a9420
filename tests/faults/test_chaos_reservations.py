"""The books of a chaos run notice whatever is wrong with reservations, and with what is counted."""

import pytest

from loadtests.load.book import Event
from tests.chaos.counting import LIMIT, LIMITED_USERS, RESERVING_USERS, counted_differences, reserved_differences
from tests.chaos.oracle import Figures, Ledger, Oracle, PostedEvent, differences
from tests.chaos.reservations import PostedReservation, Reserved, reservation_differences
from tests.chaos.shop import PAGES

CREDIT = 1_000_000
DUE_AT = 50
TOLD = [
    Reserved("open", "calls", "left", 3, "a1", 3 * CREDIT, DUE_AT),
    Reserved("open", "calls", "used", 3, "a2", 3 * CREDIT, DUE_AT, "committed", (2, 2 * CREDIT)),
    Reserved("tight", "calls", "back", 3, "a3", 3 * CREDIT, DUE_AT, "released"),
    Reserved("tight", "calls", "late", 3, "a4", 3 * CREDIT, DUE_AT, "expired", (2, 2 * CREDIT), is_late=True),
    Reserved("tight", "calls", "refused", 3, state="refused"),
]
POSTED = [
    PostedReservation("a1", "open", "calls", "left", "open", 3 * CREDIT, 0, DUE_AT, None, None),
    PostedReservation("a2", "open", "calls", "used", "committed", 3 * CREDIT, 0, DUE_AT, 40, (2, 2 * CREDIT)),
    PostedReservation("a3", "tight", "calls", "back", "released", 3 * CREDIT, 0, DUE_AT, 40, None),
    PostedReservation("a4", "tight", "calls", "late", "expired", 3 * CREDIT, 0, DUE_AT, 50, (2, 2 * CREDIT)),
]


def with_one(number: int, **changed: object) -> list[PostedReservation]:
    """What is posted, with another reservation in the place of one."""
    posted = [*POSTED]
    posted[number] = posted[number]._replace(**changed)
    return posted


FALSE: dict[str, tuple[list[PostedReservation], str]] = {
    "lost": (POSTED[1:], "left: its opening was acknowledged, and is lost"),
    "twice": ([*POSTED, POSTED[1]], "a2 or its commit is in the ledger twice"),
    "invented": ([*POSTED, POSTED[0]._replace(reservation_id="a9")], "a9 is in the ledger, and nobody was told of it"),
    "another's": (with_one(0, end_user_id="tight"), "left: was told as"),
    "more held": (with_one(0, reserved_micro=4 * CREDIT), "left: was told as"),
    "ended by nobody": (with_one(0, state="released"), "left: nobody ended it, and it is released"),
    "still open": (with_one(1, state="open", ended_at=None), "used: was committed, and is open"),
    "ended otherwise": (with_one(2, state="committed", used=(0, 0)), "back: was released, and is committed"),
    "expired too early": (with_one(0, state="expired", ended_at=DUE_AT - 1), "left: expired at 49, and was due at 50"),
    "charged otherwise": (with_one(1, used=(2, 3 * CREDIT)), "used: a commit of (2, 2000000)"),
    "not charged": (with_one(3, used=None), "late: a commit of (2, 2000000)"),
    "charged and not used": (with_one(2, used=(1, CREDIT)), "back: a commit of None"),
    "refused and opened": (
        [*POSTED, PostedReservation("a5", "tight", "calls", "refused", "open", CREDIT, 0, DUE_AT, None, None)],
        "a5 is in the ledger, and nobody was told of it",
    ),
    "overspent": (with_one(2, debt_micro=1), "back: its opening overspent by 1"),
}


def test_true_reservations_have_no_differences() -> None:
    """Also where one that was left open has expired since."""
    assert list(reservation_differences(TOLD, POSTED, ["tight"])) == []
    expired = with_one(0, state="expired", ended_at=DUE_AT)
    assert list(reservation_differences(TOLD, expired, ["tight"])) == []


@pytest.mark.parametrize("name", FALSE)
def test_false_reservations_are_noticed(name: str) -> None:
    """Each way to be wrong has its words."""
    posted, words = FALSE[name]
    assert any(words in found for found in reservation_differences(TOLD, posted, ["tight"]))


def test_an_opening_that_was_never_answered_is_noticed() -> None:
    """A client goes on until it knows."""
    told = [*TOLD, Reserved("open", "calls", "unanswered", 3)]
    assert list(reservation_differences(told, POSTED, [])) == ["unanswered: its opening was never answered"]


def test_totals_know_what_is_held_and_what_was_committed() -> None:
    """Of ten credits three are held and two used, of the other's ten two."""
    oracle = Oracle(reserved=TOLD)
    for end_user_id in ("open", "tight"):
        oracle.credit(end_user_id, end_user_id, 10 * CREDIT)
    figures = {"open": Figures(5 * CREDIT, 10 * CREDIT, 0), "tight": Figures(8 * CREDIT, 10 * CREDIT, 0)}
    assert list(differences(oracle, Ledger([], figures, reservations=POSTED), ["tight"])) == []
    figures["open"] = figures["open"]._replace(total_micro=8 * CREDIT)
    assert len(list(differences(oracle, Ledger([], figures, reservations=POSTED), ["tight"]))) == 1


@pytest.mark.parametrize(
    ("units", "costs", "words"),
    [
        ([60, 85], [110, 85], None),
        ([60, 90], [110, 90], None),
        ([60, 95], [110, 95], "and the limit is 150"),
        ([60, 85], [120, 85], "and they cost 205000000"),
        ([60, 80], [110, 80], "refused of 10 was refused"),
    ],
)
def test_what_is_counted(units: list[int], costs: list[int], words: str | None) -> None:
    """50 at 2 credits and the rest at 1, up to the limit; 10 were refused, which has to follow from the others."""
    assert LIMIT == 150
    posted = [
        PostedEvent(LIMITED_USERS[0], PAGES, f"k{number}", count, cost * CREDIT, 0, is_voided=False)
        for number, (count, cost) in enumerate(zip(units, costs, strict=True))
    ]
    sent = [Event(*event[:4]) for event in posted] + [Event(LIMITED_USERS[0], PAGES, "refused", 10)]
    found = list(counted_differences(sent, posted))
    assert found == [] if words is None else [words in found[0], len(found)] == [True, 1]


@pytest.mark.parametrize(("units", "is_right"), [(LIMIT - 90, True), (LIMIT - 89, False)])
def test_what_is_committed_of_a_counted_feature(units: int, *, is_right: bool) -> None:
    """The limit can be reached exactly, by several reservations together."""
    user = RESERVING_USERS[0]
    posted = [
        PostedReservation(f"a{used}", user, PAGES, "k", "committed", CREDIT, 0, DUE_AT, 40, (used, CREDIT))
        for used in (90, units)
    ]
    assert (list(reserved_differences(posted)) == []) is is_right
