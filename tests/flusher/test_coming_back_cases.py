"""What becomes of the free plan's credit when a customer leaves it and comes back, as a table that finance can read."""

import re
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.rules.lifecycle import Action
from app.rules.periods import IntervalUnit
from app.rules.terms import GrantTemplate, Interval, RolloverRule, SubscriptionTerms
from app.wire.events import EntryKind, StreamEntry
from app.wire.ids import derived_id
from app.wire.orders import Act, Order, Subscribe, VoidUsage
from tests.flusher.batch_subjects import tick, usage
from tests.flusher.subscriber_rows import Catalogue, SubscriberRows
from tests.flusher.subscribing_programs import make_rows
from tests.flusher.test_lag_laws import REF
from tests.rules.subscribing import DAY, STARTS_AT, grant, plan

# The free plan's first month has 28 days. Versions: what each gives, "280 month+70 week", or "none"; with ' the grant
# has another key, and "roll" = every month, and all that is left of it goes on into the next one. Steps: leave (to a
# plan that gives nothing), back, pause, resume, use n, void (what was used), publish (the next version); @days since it
# began. Seen: @day what the balance is then, + what is set aside.
CREDIT = """
versions                     | steps                                                            | seen
280 month                    | leave @7, back @14                                               | @14 280, @28 280
280 month                    | leave @7, back @30                                               | @28 0, @30 280
10 day                       | leave @7, back @7.5, leave @7.6, back @8.5                       | @7.5 10, @8 0, @8.5 10
280 month; 10 day            | leave @7, publish @8, back @14                                   | @27 280, @28 10
280 month; 10 day'           | leave @7, publish @8, back @14                                   | @27 280, @28 10
280 month; 10 day            | leave @7, publish @8, back @14.5, leave @16, back @20            | @27 280, @28 10
280 month; 20 day            | leave @7, publish @8, back @14                                   | @20 280, @21 300
280 month; 10 day            | leave @7, publish @8, back @30                                   | @28 0, @30 10
280 month; 70 week           | leave @7, publish @8, back @14                                   | @27 280, @28 70
280 month; 560 month         | leave @7, publish @8, back @14                                   | @14 420, @28 560
280 month; 560 month'        | leave @7, publish @8, back @14                                   | @14 420, @28 560
280 month; 560 month         | leave @7, publish @8, back @14, leave @15, back @16              | @16 420, @28 560
280 month; 28 month          | leave @7, publish @8, back @14                                   | @14 280, @28 28
280 month; 560 month         | leave @7, publish @8, back @30                                   | @30 560
280 month; 560 month'        | leave @7, publish @8, back @30                                   | @30 560
10 day; 280 month            | leave @7, publish @8, back @14                                   | @14 140, @28 280
10 day; 280 month            | leave @7, publish @7.2, back @7.5                                | @7.5 210, @28 280
10 day; 70 week              | leave @7, publish @8, back @14                                   | @14 70, @21 70
280 month; 10 day; 280 month | leave @7, publish @8, back @14, leave @14, publish @14, back @14 | @14 280, @28 280
280 month; 10 day; 560 month | leave @0, publish @0, back @0, leave @0, publish @0, back @0     | @0 560, @28 560
280 month; none; 280 month   | leave @7, publish @8, back @9, leave @10, publish @11, back @12  | @12 280, @28 280
280 month; none; 280 month   | leave @7, publish @8, back @9, leave @10, publish @30, back @31  | @28 0, @31 280
280 month; none; 560 month'  | leave @7, publish @8, back @9, leave @10, publish @11, back @14  | @14 370, @28 560
280 month; none; 10 day      | leave @7, publish @8, back @9, leave @10, publish @11, back @12  | @27 280, @28 10
none; 280 month              | leave @7, publish @8, back @14                                   | @14 280, @28 280
280 month                    | pause @7, leave @14, back @21                                    | @34 280, @35 280
280 month                    | pause @7, resume @14, leave @15, back @16, leave @17, back @33   | @33 280, @35 280
"""
ROLLOVERS = """
versions           | steps                                                            | seen
100 roll           | leave @7, back @14                                               | @28 200, @59 200
100 roll           | leave @7                                                         | @27 100, @28 0
100 roll           | leave @7, back @14, leave @15                                    | @27 100, @28 0
100 roll           | leave @7, back @14, leave @15, back @16                          | @28 200
100 roll           | leave @7, back @30                                               | @28 0, @30 100
100 roll           | use 30 @1, leave @7, back @14, void @15                          | @28 200
100 roll           | use 100 @1, leave @7, back @14, void @15                         | @28 200
100 roll           | use 100 @1, leave @7, void @8, back @14                          | @28 200
100 roll           | use 100 @1, leave @7, back @14, leave @15, void @16              | @27 100, @28 0
100 roll           | use 100 @1, leave @7, back @14, leave @15, back @16, void @17    | @28 200
100 roll           | use 100 @1, leave @7, back @7, leave @7, back @7, void @8        | @28 200
100 roll           | leave @7, back @14, pause @15, resume @17                        | @15 0+100, @29 100, @30 200
100 roll           | use 100 @1, leave @7, back @14, pause @15, void @16, resume @17  | @16 0+100, @29 100, @30 200
100 roll           | pause @7, leave @9, back @14                                     | @8 0+100, @29 100, @30 200
100 roll           | pause @5, resume @7, leave @9, back @14                          | @29 100, @30 200
100 roll           | leave @7, back @14, use 100 @15, leave @16, back @17, void @18   | @28 200
100 roll           | pause @3, resume @10, use 100 @11, leave @22, back @23, void @24 | @35 200
100 roll           | use 100 @1, pause @2, resume @4, leave @7, back @14, void @15    | @29 100, @30 100
100 roll; 10 day   | leave @7, publish @8, back @14                                   | @27 110, @28 110
100 roll; 200 roll | leave @7, publish @8, back @14                                   | @27 150, @28 350
"""
RENAMED = """
versions                            | steps                            | seen
280 month+10 day; 280 month+10 day' | leave @7, publish @8, back @14.5 | @14.5 290, @15 290
280 month+10 day; 280 month+10 day  | leave @7, publish @8, back @14.5 | @14.5 290, @15 290
280 month+10 day; 280 month+20 day' | leave @7, publish @8, back @14.5 | @14.5 300, @15 300
280 month+10 day; 280 month+10 day' | leave @7, publish @8, back @15   | @15 290, @16 290
"""
PAUSED = """
versions          | steps                                                                                | seen
280 month+70 week | use 350 @1, pause @3, resume @10, leave @22, back @23, void @24                      | @29 350
280 month+70 week | use 350 @1, pause @3, resume @10, leave @22, back @23, leave @23, back @24, void @25 | @29 350
"""
TABLES = [table.strip().splitlines()[1:] for table in (CREDIT, ROLLOVERS, RENAMED, PAUSED)]
ROWS = [[cell.strip() for cell in line.split("|")] for table in TABLES for line in table]
FREE, PAID, USED = UUID(int=1), UUID(int=2), UUID(int=3)
DOINGS = {"pause": Action.PAUSE, "resume": Action.RESUME, "back": Action.CANCEL}


def terms_of(version: int, said: str) -> SubscriptionTerms:
    """A version of the free plan."""
    terms = replace(
        plan(FREE.int), name=replace(plan(FREE.int).name, version_id=UUID(int=100 + version), version=version)
    )
    if said == "none":
        return terms
    return replace(terms, grants=tuple(_template(10 * place, one) for place, one in enumerate(said.split("+"), 1)))


def _template(number: int, said: str) -> GrantTemplate:
    amount, every = said.split()
    template = grant(number + every.endswith("'"), int(amount))
    if every == "roll":
        return replace(template, rollover=RolloverRule(1_000_000))
    return replace(template, every=Interval(IntervalUnit(every.rstrip("'"))))


class Story:
    """A customer who is on the free plan, and what becomes of them."""

    def __init__(self, versions: str) -> None:
        self._versions = [terms_of(number, said) for number, said in enumerate(versions.split("; "), 1)]
        self.rows = make_rows([])
        self._number, self._made = 0, UUID(int=0)
        """The subscription that they are on."""
        self._waiting: list[StreamEntry] = []
        self.publish()
        self._subscribe(FREE, STARTS_AT)

    def publish(self) -> None:
        """Let the next version be the newest."""
        self.post()
        free = self._versions.pop(0)
        self.rows.catalogue = Catalogue({FREE: free, PAID: plan(PAID.int)}, free, "UTC")

    def tell(self, step: str, at: int) -> None:
        """One more step."""
        verb, *rest = step.split()
        if verb == "publish":
            self.publish()
        elif verb == "leave":
            self._subscribe(PAID, at)
        elif verb == "use":
            self._waiting.append(usage("user", USED.int, int(rest[0]), at))
        elif verb == "void":
            self._order(at, VoidUsage, event_id=USED)
        else:
            self._order(at, Act, subscription_id=self._made, action=DOINGS[verb])
            if verb == "back":
                self._made = derived_id(b"fell back", self._made.hex.encode())

    def _subscribe(self, variant_id: UUID, at: int) -> None:
        self._made = UUID(int=500 + self._number)
        self._order(at, Subscribe, subscription_id=self._made, variant_id=variant_id)

    def _order(self, at: int, what: type[Order], **asked: object) -> None:
        self._number += 1
        named = what(order_id=UUID(int=1_000 + self._number), actor="client", **asked)  # type: ignore[arg-type]
        self._waiting.append(StreamEntry((at, self._number), REF, EntryKind.ORDER, at, 1, 0, None, named))

    def look(self, at: int) -> None:
        """Let time come to this moment."""
        self._waiting.append(tick("user", at))

    def post(self, size: int = 100) -> None:
        """Post what waits, in batches of a size."""
        for start in range(0, len(self._waiting), size):
            self.rows.post(self._waiting[start : start + size])
        self._waiting = []
        assert not [outcome for outcome in self.rows.outcomes.values() if outcome.refused]


def aside(rows: SubscriberRows) -> int:
    """What is set aside."""
    return sum(block.remaining_micro for kept in rows.subscriptions() for block in kept.set_aside)


@pytest.mark.parametrize(("versions", "steps", "seen"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
@pytest.mark.parametrize("size", [1, 100])
def test_the_table(versions: str, steps: str, seen: str, size: int) -> None:
    """Step by step, or all of a look in one batch: what is seen at each moment is what the table says."""
    story, to_come = Story(versions), [_dated(step) for step in steps.split(", ")]
    for look in seen.split(", "):
        day, balance, set_aside = re.fullmatch(r"@([\d.]+) (\d+)(?:\+(\d+))?", look).groups()  # type: ignore[union-attr]
        at = STARTS_AT + int(float(day) * DAY)
        while to_come and to_come[0][1] <= at:
            story.tell(*to_come.pop(0))
        story.look(at)
        story.post(size)
        assert (day, story.rows.account.total_micro, aside(story.rows)) == (day, int(balance), int(set_aside or 0))
    assert not to_come


def _dated(step: str) -> tuple[str, int]:
    words, day = step.rsplit(" @", 1)
    return words, STARTS_AT + int(float(day) * DAY)
