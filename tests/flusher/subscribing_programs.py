"""Lives of one customer with subscriptions, made up at random: a small catalogue, and a stream of entries about it.

A program is made up while it runs one entry at a time, so that it does what is possible more often than what is not.
It has three parts: between them every variant gets a new version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from uuid import UUID

from msgspec import structs

from app.flusher.batch import MOST_DUE
from app.ledger.book import Origin, block_account
from app.rules.burndown import Block
from app.rules.lifecycle import Action, State, legal_actions
from app.rules.moments import HOUR_MICROSECONDS, NEVER_AT
from app.rules.periods import IntervalUnit
from app.rules.subscriptions import Contract
from app.rules.terms import (
    BillingMode,
    GrantTemplate,
    Interval,
    PlanKind,
    RolloverRule,
    SubscriptionTerms,
    VersionName,
)
from app.rules.thresholds import Threshold
from app.subscriptions.book import Kept
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import Act, BillOverage, Debit, Order, Subscribe, VoidGrant, VoidUsage
from app.wire.reservations import ReservationState
from tests.flusher.batch_subjects import ending, make_account, make_block, opening, tick, usage
from tests.flusher.subscriber_rows import Catalogue, SubscriberRows
from tests.flusher.test_lag_laws import REF
from tests.rules.subscribing import DAY, STARTS_AT, ZONES

HOUR = HOUR_MICROSECONDS
CLIENT_ACTIONS = (*legal_actions(State.ACTIVE), Action.RESUME)
PERIODS = [Interval(IntervalUnit.DAY, 10), Interval(IntervalUnit.WEEK), *[Interval(IntervalUnit.MONTH)] * 2]
CYCLES = [Interval(IntervalUnit.DAY, 3), Interval(IntervalUnit.WEEK), *[Interval(IntervalUnit.MONTH)] * 2]
ENDS = [ReservationState.COMMITTED, ReservationState.RELEASED, ReservationState.EXPIRED]
STEPS_OF_A_PART = 14
VERSIONS = (1, 2, 3)
WALLET = 900
"""From here on blocks are numbered; no event has such a number."""


@dataclass(frozen=True)
class Part:
    """Entries, and the catalogue that holds while they are posted."""

    catalogue: Catalogue
    entries: list[StreamEntry]


@dataclass(frozen=True)
class Life:
    """A program, and what came of it one entry at a time."""

    wallet: list[Block]
    parts: list[Part]
    rows: SubscriberRows

    def again(
        self, size: int, change: Callable[[Part], Part] = lambda part: part, *, most_due: int = MOST_DUE
    ) -> SubscriberRows:
        """The same from the start in batches of a size, perhaps changed; what a tick leaves comes with the next."""
        rows = make_rows(self.wallet)
        rows.most_due = most_due
        for part in map(change, self.parts):
            rows.catalogue = part.catalogue
            for start in range(0, len(part.entries), size):
                rows.post(part.entries[start : start + size])
            while part.entries and rows.account.next_boundary() <= part.entries[-1].accepted_at:
                rows.post([tick("user", part.entries[-1].accepted_at)])
        return rows


def make_rows(wallet: list[Block]) -> SubscriberRows:
    """An account that was granted what is in the wallet."""
    account = make_account("user", [])
    account.posted_at, account.thresholds = STARTS_AT - DAY, (Threshold(amount_micro=5), Threshold(percent=20))
    rows = SubscriberRows(account, {block.id: structs.replace(block) for block in wallet})
    for block in wallet:
        lines = [(block_account(block.id), block.granted_micro), ("issued:promo", -block.granted_micro)]
        rows.transactions.append(account.post("grant", lines, STARTS_AT - DAY, Origin("core")))
    return rows


def make_life(seed: int) -> Life:
    """A life, the same for the same seed."""
    return _Author(Random(seed)).write()


class _Author:
    """Makes up a life."""

    def __init__(self, random: Random) -> None:
        self._random = random
        blocks = [(random.randint(1, 20), random.choice([NEVER_AT, STARTS_AT + random.randint(1, 90) * DAY]))]
        self._wallet = [
            make_block(number, amount, expires_at)
            for number, (amount, expires_at) in enumerate(blocks * random.randint(0, 1), WALLET)
        ]
        self._rows = make_rows(self._wallet)
        self._at, self._number = STARTS_AT, 0
        self._entries: list[StreamEntry] = []

    def write(self) -> Life:
        """The life."""
        parts, first = list[Part](), make_catalogue(self._random)
        for version in VERSIONS:
            catalogue = first if version == 1 else next_version(self._random, first, version)
            self._rows.catalogue, self._entries = catalogue, []
            for _ in range(STEPS_OF_A_PART):
                self._at += self._pause()
                self._add(self._step())
                if self._random.random() < (0.7 if self._stands_still() else 0.25):
                    self._at += self._random.choice([0, 0, HOUR])
                    self._add(self._besides())
            if version == VERSIONS[-1]:
                self._at += 100 * DAY
                self._add(tick("user", self._at))
            parts.append(Part(catalogue, self._entries))
        return Life(self._wallet, parts, self._rows)

    def _add(self, entry: StreamEntry) -> None:
        self._entries.append(entry)
        self._rows.post([entry])

    def _pause(self) -> int:
        """Often to where something happens, or just before or after it."""
        random, boundary_at = self._random, self._rows.account.next_boundary()
        kind = random.choice(["none", "hours", "hours", "days", "days", "boundary", "boundary", "long"])
        if kind == "boundary" and self._at < boundary_at < self._at + 400 * DAY:
            return max(boundary_at - self._at + random.choice([-1, 0, 0, 0, 1, HOUR]), 0)
        if kind == "none" or random.random() < 0.1:
            return 0
        lengths = {"hours": random.randint(1, 48) * HOUR, "long": random.randint(20, 80) * DAY}
        return lengths.get(kind, random.randint(1, 10) * DAY + random.randint(0, 10))

    def _step(self) -> StreamEntry:
        random = self._random
        self._number += 1
        has_base = any(kept.is_base and not kept.is_terminal for kept in self._rows.subscriptions())
        verbs = [*["use"] * 6, *["act"] * 8, *["subscribe"] * (2 if has_base else 8), "tick", "correct", "again"]
        verb = random.choice(verbs)
        if verb == "use":
            entry = usage("user", self._number, random.choice([0, 1, 3, 8, 20, 50]), self._at)
            late = random.choice([0, 0, 1, 30]) * HOUR
            payload = None if entry.payload is None else structs.replace(entry.payload, occurred_at=self._at - late)
            return structs.replace(entry, payload=payload)
        if verb == "again" and (before := [entry.order for entry in self._entries if entry.order]):
            return self._entry(random.choice(before))
        if verb == "subscribe":
            return self._entry(self._subscribe())
        if verb == "correct":
            return self._entry(self._correct())
        if verb == "act" and (kept := self._whom()) is not None:
            return self._entry(self._act(kept))
        return tick("user", self._at)

    def _stands_still(self) -> bool:
        return any(kept.rules.state is State.PAUSED for kept in self._rows.subscriptions())

    def _besides(self) -> StreamEntry:
        """Credit is reserved, or comes back, which it does more often while something stands still."""
        random, held = self._random, [each.id.int for each in self._rows.reservations.values() if each.is_open]
        self._number += 1
        if held and random.random() < (0.8 if self._stands_still() else 0.3):
            used_micro = random.choice([0, 0, 1, 5, 9])
            return ending("user", random.choice(held), random.choice(ENDS), self._at, used_micro=used_micro)
        if random.random() < 0.4:
            return self._entry(self._correct())
        return opening("user", self._number, random.choice([1, 5, 20]), self._at)

    def _entry(self, order: Order) -> StreamEntry:
        return StreamEntry((self._at, self._number), REF, EntryKind.ORDER, self._at, 1, 0, None, order)

    def _name(self) -> dict[str, object]:
        key = f"key {self._number}"
        return {"order_id": UUID(int=1_000 + self._number), "actor": "client", "idempotency_key": key}

    def _subscribe(self) -> Order:
        random = self._random
        return Subscribe(
            **self._name(),  # type: ignore[arg-type] # what every order says
            subscription_id=UUID(int=random.getrandbits(120)),
            variant_id=random.choice(list(self._rows.catalogue.terms)),
            starts_at=random.choice([None, None, None, self._at + random.randint(-2, 9) * DAY]),
            with_trial=random.random() < 0.8,
            contract=random.choice([None, None, Contract(random.randint(1, 3), random.random() < 0.5)]),
        )

    def _whom(self) -> Kept | None:
        """Mostly one of those that are alive."""
        kept = self._rows.subscriptions()
        alive = [each for each in kept if not each.is_terminal]
        pool = alive if alive and self._random.random() < 0.95 else kept
        return self._random.choice(pool) if pool else None

    def _act(self, kept: Kept) -> Order:
        random, legal = self._random, legal_actions(kept.rules.state)
        action = random.choice(legal if legal and random.random() < 0.9 else CLIENT_ACTIONS)
        if kept.rules.upcoming.billing_mode is BillingMode.PREPAID and random.random() < 0.4:
            action = Action.RENEW
        index, terms = kept.rules.period_index, self._rows.catalogue.terms
        kin = [key for key, each in terms.items() if each.name.plan_kind is kept.rules.terms.name.plan_kind]
        is_change = action in {Action.CHANGE, Action.SCHEDULE_CHANGE}
        is_renewal = action is Action.RENEW
        return Act(
            **self._name(),  # type: ignore[arg-type] # what every order says
            subscription_id=kept.id,
            action=action,
            variant_id=random.choice([*kin * 4, *terms]) if is_change else None,
            only_upwards=is_change and random.random() < 0.3,
            period_index=random.choice([None, index, index, index - 1, index + 1]) if is_renewal else None,
            payment_reference=random.choice([None, f"payment {random.randint(1, 9)}"]) if is_renewal else None,
        )

    def _correct(self) -> Order:
        random, name = self._random, self._name()
        aside = [block.id for kept in self._rows.subscriptions() for block in kept.set_aside]
        events, blocks = [*self._rows.events], [*self._rows.blocks, *aside * 5]
        kinds = ["bill", "debit", *["event"] * 3 * bool(events), *["block"] * bool(blocks)]
        may_owe = random.random() < 0.5
        match random.choice(kinds):
            case "event":
                return VoidUsage(**name, event_id=random.choice([*events, *events[-3:] * 9]))  # type: ignore[arg-type]
            case "block":
                return VoidGrant(**name, block_id=random.choice(blocks), allow_debt=may_owe)  # type: ignore[arg-type]
            case "debit":
                return Debit(**name, amount_micro=random.randint(1, 9), allow_debt=may_owe)  # type: ignore[arg-type]
            case _:
                return BillOverage(**name)  # type: ignore[arg-type]


def make_catalogue(random: Random) -> Catalogue:
    """A plan with two variants, another plan, an add-on, and mostly a free plan."""
    shapes = [(1, PlanKind.BASE), (1, PlanKind.BASE), (2, PlanKind.BASE), (3, PlanKind.ADDON), (4, PlanKind.BASE)]
    all_terms = [_make_terms(random, number, *shape) for number, shape in enumerate(shapes, 1)]
    free = structs.replace(all_terms[4], billing_mode=BillingMode.POSTPAID, trial_days=0)
    terms = {each.name.variant_id: each for each in [*all_terms[:4], free]}
    return Catalogue(terms, free if random.random() < 0.7 else None, random.choice(ZONES))


def next_version(random: Random, catalogue: Catalogue, number: int) -> Catalogue:
    """Each variant of the first version with other amounts, under new version ids; what is granted keeps its name.

    Of the free plan it may have other cycles, too, or none in between: to that one customers come back, and find
    another version.
    """
    terms: dict[UUID, SubscriptionTerms] = {}
    for key, old in catalogue.terms.items():
        name = structs.replace(old.name, version_id=UUID(int=old.name.variant_id.int + 100 * number), version=number)
        grants = [structs.replace(each, amount_micro=_amount(random, each)) for each in old.grants]
        if catalogue.free is not None and key == catalogue.free.name.variant_id:
            gives_nothing = number == VERSIONS[1] and random.random() < 0.4
            grants = [] if gives_nothing else [_with_other_cycle(each) for each in grants]
        terms[key] = structs.replace(old, name=name, grants=tuple(grants))
    free = None if catalogue.free is None else terms[catalogue.free.name.variant_id]
    return Catalogue(terms, free, catalogue.zone)


def _with_other_cycle(template: GrantTemplate) -> GrantTemplate:
    if template.every is None:
        return template
    return structs.replace(template, every=Random(template.amount_micro).choice([template.every, *CYCLES]))


def _amount(random: Random, template: GrantTemplate) -> int:
    return random.randint(1, template.cap_micro or 30)


def _make_terms(random: Random, number: int, plan: int, kind: PlanKind) -> SubscriptionTerms:
    variant_id = UUID(int=number)
    name = VersionName(
        UUID(int=10 * plan), f"plan{plan}", kind, variant_id, f"variant{number}", UUID(int=100 + number), 1
    )
    grants = [_make_template(random, UUID(int=1_000 * number + place)) for place in range(random.randint(0, 3))]
    return SubscriptionTerms(
        name,
        random.choice(PERIODS),
        random.choice([*BillingMode]),
        tuple(grants),
        trial_days=random.choice([0, 3, 14]),
        renewal_due_days=random.choice([0, 3]),
        grace_period_days=random.choice([0, 3]),
    )


def _make_template(random: Random, template_id: UUID) -> GrantTemplate:
    every = random.choice([None, *CYCLES])
    lifetime = random.choice([None, None, Interval(IntervalUnit.DAY, random.randint(1, 40))])
    amount = random.randint(1, 30)
    rollover = RolloverRule(random.choice([300_000, 500_000, 1_000_000]), random.choice([None, 4]))
    is_rolled = every is not None and lifetime is None and random.random() < 0.5
    cap = random.choice([None, None, amount + random.randint(0, 20)])
    priority = random.choice([50, 100, 100, 150])
    return GrantTemplate(template_id, amount, every, lifetime, priority, rollover if is_rolled else None, cap)
