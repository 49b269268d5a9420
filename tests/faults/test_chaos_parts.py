"""The parts of the chaos run: what breaks follows from the seed, and the books notice whatever is wrong."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from loadtests.load.book import Event
from tests.chaos.oracle import Contradiction, Figures, Ledger, Oracle, PostedEvent, Told, differences
from tests.chaos.schedule import AFTER_SECONDS, make_schedule

CREDIT = 1_000_000
SENT = [Event("open", "calls", f"k{number}", 2, enforce=False) for number in range(4)]
REFUSED = Event("tight", "calls", "refused", 2, enforce=True)


def told_books() -> Oracle:
    """Four events at two credits of which one is voided, one that was refused, and two grants."""
    oracle = Oracle()
    for event in (*SENT, REFUSED):
        oracle.send(event)
    for event in SENT:
        oracle.answer(event, Told(is_accepted=True, cost_micro=2 * CREDIT, event_id=f"evt_{event.idempotency_key}"))
    oracle.answer(REFUSED, Told(is_accepted=False))
    oracle.credit("open", "first", 100 * CREDIT)
    oracle.credit("tight", "other", CREDIT)
    oracle.void("k3")
    return oracle


def true_ledger() -> Ledger:
    """What these books ask for; ten credits of the first customer have expired."""
    events = [PostedEvent(*event[:4], 2 * CREDIT, 0, is_voided=event.idempotency_key == "k3") for event in SENT]
    figures = {"open": Figures(84 * CREDIT, 100 * CREDIT, 10 * CREDIT), "tight": Figures(CREDIT, CREDIT, 0)}
    return Ledger(events, figures)


def with_event(ledger: Ledger, number: int, **changed: object) -> Ledger:
    """The ledger with another event in the place of one."""
    events = [*ledger.events]
    events[number] = events[number]._replace(**changed)
    return replace(ledger, events=events)


def with_figures(ledger: Ledger, end_user_id: str, **changed: int) -> Ledger:
    """The ledger with other figures of a customer."""
    return replace(ledger, figures={**ledger.figures, end_user_id: ledger.figures[end_user_id]._replace(**changed)})


FALSE: dict[str, tuple[Callable[[Ledger], Ledger], str]] = {
    "lost": (lambda ledger: replace(ledger, events=ledger.events[1:]), "k0 was acknowledged, and is lost"),
    "twice": (lambda ledger: replace(ledger, events=[*ledger.events, ledger.events[0]]), "k0 is in the ledger twice"),
    "invented": (lambda ledger: with_event(ledger, 0, idempotency_key="k9"), "nobody sent it"),
    "dearer": (lambda ledger: with_event(ledger, 0, cost_micro=3 * CREDIT), "was acknowledged at"),
    "another's": (lambda ledger: with_event(ledger, 0, end_user_id="tight"), "was sent as"),
    "not voided": (
        lambda ledger: with_event(ledger, 3, is_voided=False),
        "k3 was voided, and the ledger says otherwise",
    ),
    "voided": (lambda ledger: with_event(ledger, 0, is_voided=True), "k0 was not voided"),
    "refused and posted": (
        lambda ledger: replace(ledger, events=[*ledger.events, PostedEvent(*REFUSED[:4], 0, 0, is_voided=False)]),
        "refused was refused",
    ),
    "overspent": (lambda ledger: with_event(ledger, 0, end_user_id="tight", debt_micro=1), "overspent by 1"),
    "granted twice": (lambda ledger: with_figures(ledger, "tight", credited_micro=2 * CREDIT), "credited"),
    "a wrong total": (lambda ledger: with_figures(ledger, "open", total_micro=83 * CREDIT), "should be left"),
    "nobody": (lambda ledger: replace(ledger, figures={"open": ledger.figures["open"]}), "tight is not in the ledger"),
    "rejected": (lambda ledger: replace(ledger, rejected=["open: unreadable_entry"]), "rejected: open"),
}


def test_a_true_ledger_has_no_differences() -> None:
    """Nothing is said where everything is as clients were told."""
    assert list(differences(told_books(), true_ledger(), ["tight"])) == []


@pytest.mark.parametrize("name", FALSE)
def test_a_false_ledger_is_noticed(name: str) -> None:
    """Each way to be wrong has its words."""
    falsify, words = FALSE[name]
    assert any(words in found for found in differences(told_books(), falsify(true_ledger()), ["tight"]))


def test_an_event_that_was_never_answered_is_noticed() -> None:
    """A client goes on until it knows."""
    oracle = told_books()
    oracle.send(Event("open", "calls", "unanswered", 1))
    assert list(differences(oracle, true_ledger(), [])) == ["unanswered was never answered"]


@pytest.mark.parametrize(
    "second",
    [Told(is_accepted=False), Told(True, CREDIT, "evt_k0"), Told(True, 2 * CREDIT, "evt_other")],  # noqa: FBT003 - accepted
)
def test_another_answer_under_one_key_is_a_contradiction(second: Told) -> None:
    """Whatever differs."""
    with pytest.raises(Contradiction, match="k0 was answered with"):
        told_books().answer(SENT[0], second)


def test_what_is_priced_later_is_acknowledged_now() -> None:
    """An answer without a cost counts, a later one with it is no contradiction, and the ledger's cost is taken."""
    oracle, event = Oracle(), SENT[0]
    oracle.send(event)
    oracle.credit("open", "first", 100 * CREDIT)
    oracle.answer(event, Told(is_accepted=True, event_id="evt_k0"))
    ledger = Ledger(true_ledger().events[:1], {"open": Figures(98 * CREDIT, 100 * CREDIT, 0)})
    assert oracle.acknowledged == 1
    assert list(differences(oracle, ledger, [])) == []
    assert list(differences(oracle, replace(ledger, events=[]), [])) != []
    oracle.answer(event, Told(is_accepted=True, cost_micro=2 * CREDIT, event_id="evt_k0"))
    assert list(differences(oracle, ledger, [])) == []


def test_a_schedule_follows_from_its_seed() -> None:
    """The same for the same seed, another for another."""
    assert make_schedule(7, 480) == make_schedule(7, 480)
    assert make_schedule(7, 480) != make_schedule(8, 480)


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_of_eight_minutes(seed: int) -> None:
    """Fifty kills and more, everything in its time, and nothing on a target that is harmed already."""
    faults = make_schedule(seed, 480)
    assert sum(fault.kind == "kill" for fault in faults) >= 50
    assert all(one.at_seconds <= other.at_seconds for one, other in pairwise(faults))
    assert 0 <= faults[0].at_seconds <= faults[-1].at_seconds <= 480
    by_target: dict[str, list[float]] = {}
    for fault in faults:
        times = by_target.setdefault(fault.target.removesuffix(" worker"), [0.0])
        assert fault.at_seconds >= times[-1]
        times.append(fault.at_seconds + fault.seconds + AFTER_SECONDS)
    assert {fault.kind for fault in faults} >= {"kill", "pause", "slow", "stall", "cut"}
