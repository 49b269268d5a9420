"""What the scenarios send, followed by hand: a right product is never accused, and a wrong one is."""

from collections.abc import Iterator
from random import Random

import pytest

from app.rules.credits import from_micro
from loadtests.load.auditing import find_differences
from loadtests.load.book import Book
from loadtests.load.judging import Answer, Wrong
from loadtests.load.plan import API_CALLS, BIG_CUSTOMERS, PRICES_MICRO, PROBED, SHARED_CUSTOMERS, Plan
from loadtests.scenarios import SCENARIOS
from loadtests.scenarios.script import COMMIT, USAGE, Script
from tests.loadtests.toy_product import Account, Fault, ToyProduct

CORE, EDGE = "http://core", "http://edge"
CALLS = 1_500
SCRIPTS = [(name, kind) for name, scripts in SCENARIOS.items() for kind in scripts]
PASSING = "account_loading"


def make_plan(*, expects_interruptions: bool = False) -> Plan:
    """A plan for a product in memory."""
    return Plan(
        "toy",
        "mixed",
        "steady",
        1,
        1,
        None,
        1,
        CORE,
        EDGE,
        "key",
        "variant",
        expects_interruptions,
        [PASSING],
        "unused",
    )


def make_toy(plan: Plan, fault: Fault | None = None) -> ToyProduct:
    """A product that has the customers whom users share."""
    toy = ToyProduct(fault)
    names = [plan.shared_customer(number) for number in range(SHARED_CUSTOMERS)]
    names += [plan.big_customer(number) for number in range(BIG_CUSTOMERS)]
    toy.accounts.update((name, Account(10**18)) for name in names)
    return toy


async def follow(script: Script, toy: ToyProduct, calls: int = CALLS) -> list[str]:
    """Make so many calls of a script; what it found wrong."""
    wrong: list[str] = []
    for _ in range(calls):
        call = script.next_call()
        path = call.url.removeprefix(CORE).removeprefix(EDGE)
        answer = await toy.send(call.method, path, call.body, call.idempotency_key)
        try:
            script.settle(answer)
        except Wrong as error:
            wrong.append(str(error))
    return wrong


def scripts_of(book: Book) -> Iterator[Script]:
    """One user of every kind that any scenario has."""
    for name, kind in SCRIPTS:
        yield kind(make_plan(), book, f"{name}_{kind.__name__}", Random(7))


async def differences_of(toy: ToyProduct, book: Book) -> list[str]:
    """What the auditor finds."""
    return await find_differences(toy, toy, book, [f"toy.{name}" for name in PRICES_MICRO if name != PROBED])


async def test_right_product_is_never_accused() -> None:
    """Thousands of calls of every script, repeats among them, and at the end the books are equal."""
    book, toy = Book(), make_toy(make_plan())
    for script in scripts_of(book):
        assert await follow(script, toy) == []
    assert book.acknowledged > CALLS
    assert await differences_of(toy, book) == []


@pytest.mark.parametrize(
    ("fault", "script", "finding"),
    [
        (Fault.REFUSES_THE_LAST, "ApiPlatform", "402 instead of 202"),
        (Fault.CHARGES_EVERY_REPEAT, "ChatApp", "balance is"),
        (Fault.ANSWERS_REPEATS_ANEW, "ChatApp", "a replay differs"),
        (Fault.ANSWERS_REPEATS_ANEW, "ApiPlatform", "of a replay is"),
        (Fault.SHOWS_AN_OLD_BALANCE, "ChatApp", "balance is"),
        (Fault.KEEPS_WHAT_WAS_NOT_USED, "ChatApp", "balance is"),
        (Fault.ENDS_TWICE, "ChatApp", "a replay differs"),
        (Fault.REFUSES_IN_BATCHES, "ApiPlatform", "event 2 was rejected: invalid_value"),
    ],
)
async def test_wrong_product_is_accused(fault: Fault, script: str, finding: str) -> None:
    """By the script whose business it is, in words that say what is wrong."""
    toy = make_toy(make_plan(), fault)
    kind = next(kind for _, kind in SCRIPTS if kind.__name__ == script)
    user = kind(make_plan(), Book(), "one", Random(7))
    wrong: list[str] = []
    for _ in range(CALLS):  # some faults show seldom: a spend has to cost exactly what is left
        wrong += await follow(user, toy, 10)
        if any(finding in message for message in wrong):
            return
    pytest.fail(f"nobody said that {finding!r}; what was said: {wrong[:3]}")


@pytest.mark.parametrize("fault", [Fault.LOSES_WHAT_WAS_LAST, Fault.POSTS_THE_LAST_TWICE])
async def test_lost_or_doubled_event_is_found_in_the_books(fault: Fault) -> None:
    """Every answer was right, and the ledger is not."""
    book, toy = Book(), make_toy(make_plan(), fault)
    script = next(scripts_of(book))
    assert await follow(script, toy, 50) == []
    await toy.kill("edge")
    assert len(await differences_of(toy, book)) == 1


@pytest.mark.parametrize("route", [USAGE, COMMIT])
async def test_what_was_not_answered_is_asked_for_again_at_the_end(route: str) -> None:
    """Recorded or not, it is in the books once afterwards."""
    book, toy = Book(), make_toy(make_plan())
    script = next(scripts_of(book))
    await follow(script, toy, 50)
    while (call := script.next_call()).route != route or not book.unanswered:
        script.settle(await toy.send(call.method, call.url.removeprefix(CORE).removeprefix(EDGE), call.body))
    await toy.send(call.method, call.events[0].path, call.body)
    assert book.unanswered == list(call.events)
    assert await differences_of(toy, book) == []
    assert book.unanswered == []


def test_call_without_an_answer_is_the_next_one_again() -> None:
    """With the same body and key, however often it is asked for."""
    script = next(scripts_of(Book()))
    assert script.next_call() is script.next_call()


def batch_script(*, expects_interruptions: bool) -> Script:
    """A platform's user whose next call is a batch."""
    script = next(kind for _, kind in SCRIPTS if kind.__name__ == "ApiPlatform")(
        make_plan(expects_interruptions=expects_interruptions), Book(), "batch", Random(3)
    )
    script.send_batch()  # type: ignore[attr-defined]
    return script


def batch_answer(script: Script) -> Answer:
    """All events are accepted but the first, whose account is being loaded."""
    costs = [from_micro(event.units * PRICES_MICRO[API_CALLS]) for event in script.next_call().events]
    parts = [f'{{"status":"accepted","replayed":false,"cost":{cost},"overage":0,"code":null}}' for cost in costs]
    parts[0] = f'{{"status":"rejected","code":"{PASSING}","detail":"later"}}'
    return Answer(202, f'{{"results":[{",".join(parts)}]}}'.encode())


def test_part_of_a_batch_that_may_come_later_is_sent_again() -> None:
    """Only that part, under the same key."""
    script = batch_script(expects_interruptions=True)
    first = script.next_call().events[0]
    script.settle(batch_answer(script))
    while len(script.next_call().events) != 1:
        script._queue.popleft()  # noqa: SLF001 - a repeat, which chance may put before it
    assert script.next_call().events == [first]


def test_part_of_a_batch_that_is_refused_while_everything_lives_is_wrong() -> None:
    """Nothing was killed, so nothing has to come later."""
    script = batch_script(expects_interruptions=False)
    with pytest.raises(Wrong, match=PASSING):
        script.settle(batch_answer(script))
