"""A customer's subscriptions as they are moved, pure: what happens next by itself, and what an order does.

At most one base subscription is in force, and one at most is to come, which takes the place of the free plan when it
starts. Where a base subscription ends, the customer falls back to the free plan, unless it is the free plan that ends.
"""

from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.orders.outcomes import Refused
from app.rules.actions import ActionRefused, Arguments, act, possible_actions
from app.rules.agenda import advance, come_back, next_at
from app.rules.burndown import Block
from app.rules.effects import Announced, Effect, Notice, PeriodTurned, StateChanged, TakenOver, TermsChanged
from app.rules.lifecycle import TERMINAL, Action, IllegalMove, State
from app.rules.moments import NEVER_AT
from app.rules.subscriptions import Contract, Subscription, is_upgrade, subscribe
from app.rules.terms import PlanKind, SubscriptionTerms
from app.subscriptions import payments
from app.subscriptions.payments import CREATE, Paid, naming
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Act, Subscribe, SubscriptionOrder

MAX_IN_FORCE = 20
"""Subscriptions of a customer that have not ended: each step looks at all of them."""
MAX_EVER = 1_000
"""Subscriptions of a customer in all: each order reads them, and so does each step that is due."""


class UsedSoFar(msgspec.Struct, frozen=True):
    """What was used of a feature."""

    feature_key: str
    units_micro: int
    cost_micro: int
    events: int


class Kept(msgspec.Struct):
    """A subscription of a customer: a working copy of its row."""

    id: UUID
    customer_id: UUID
    rules: Subscription
    created_at: int
    is_free: bool = False
    """It is on what was the free plan when it was made."""
    trial_plan_id: UUID | None = None
    """The plan of which the customer has had the trial with it."""
    counted_from: int | None = None
    """Where the counting of units began in the present period."""
    set_aside: list[Block] = []
    """What a pause has taken out of the balance: blocks with what was left of them."""
    used_before: list[UsedSoFar] = []
    """What had been used in the hour in which the present period began, when it began."""
    changes: int = 0
    """How much of it has been written in its history."""

    @property
    def begun_at(self) -> int:
        """Where the present period began: a pause moves the one that rules count with, and no usage out of it."""
        return self.rules.period.start_at if self.counted_from is None else self.counted_from

    @property
    def is_base(self) -> bool:
        """Whether it is what the customer is on, not an add-on."""
        return self.rules.terms.name.plan_kind is PlanKind.BASE

    @property
    def is_terminal(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self.rules.state in TERMINAL


class Happened(msgspec.Struct, frozen=True):
    """One thing that became of a subscription, and what follows from it for others."""

    kept: Kept
    before: Subscription | None
    """None = it was made."""
    at: int
    action: str | None
    """What its history calls it; None = nothing that it has to remember."""
    effects: list[Effect]
    by: SubscriptionOrder | None = None
    """Who asked for it; None = time did."""


def is_leaving(rules: Subscription, variant_id: UUID) -> bool:
    """Whether a subscription is on another variant than this, or is not going to be on it when its period is over."""
    variants = {rules.terms.name.variant_id, (rules.pending or rules.terms).name.variant_id}
    return rules.ends_with_period or rules.cancel_at_period_end or variants != {variant_id}


class Named(msgspec.Struct):
    """What orders speak of: newest terms by variant, and what payment references have paid for."""

    terms: dict[UUID, SubscriptionTerms] = {}
    payments: dict[tuple[UUID, str], Paid] = {}
    """By (environment, reference); those of the orders at hand are added as they are carried out."""


class Subscribers(msgspec.Struct):
    """Whose subscriptions a batch changes, and what its orders speak of."""

    customers: dict[UUID, "Customer"] = {}
    """By account, which has the customer's id."""
    named: Named = msgspec.field(default_factory=Named)


class Customer(msgspec.Struct):
    """All subscriptions of a customer, those that have ended too, in the order in which they were made."""

    environment_id: UUID
    id: UUID
    end_user_id: str
    zone: str
    """The billing zone's name, for those that are made."""
    free: SubscriptionTerms | None
    """The newest version of the environment's free plan."""
    subscriptions: list[Kept]
    changed: dict[UUID, Kept] = {}
    """Those that have to be written."""
    moments: dict[UUID, tuple[Subscription, int]] = {}
    """When each next changes by itself, and as which: it takes long to work out, and changes as it is moved."""

    def next_at(self) -> int:
        """When one of them next changes by itself."""
        return min(map(self._next_at, self.subscriptions), default=NEVER_AT)

    def _next_at(self, kept: Kept) -> int:
        """When the subscription next changes by itself."""
        rules, at = self.moments.get(kept.id, (None, NEVER_AT))
        if rules is not kept.rules:
            at = next_at(kept.rules)
            self.moments[kept.id] = kept.rules, at
        return at

    def find(self, subscription_id: UUID) -> Kept | None:
        """The subscription with this id."""
        return next((kept for kept in self.subscriptions if kept.id == subscription_id), None)

    def changing(self, subscription_id: UUID) -> Kept:
        """The subscription with this id, to be changed and written."""
        kept = next(kept for kept in self.subscriptions if kept.id == subscription_id)
        self.changed[kept.id] = kept
        return kept

    def base_in_force(self) -> Kept | None:
        """What the customer is on."""
        return next((kept for kept in self._bases() if kept.rules.state is not State.SCHEDULED), None)

    def base_to_come(self) -> Kept | None:
        """What the customer is going to be on."""
        return next((kept for kept in self._bases() if kept.rules.state is State.SCHEDULED), None)

    def _bases(self) -> list[Kept]:
        return [kept for kept in self.subscriptions if kept.is_base and not kept.is_terminal]

    def is_free(self, terms: SubscriptionTerms) -> bool:
        """Whether they are those of the free plan, in whatever version."""
        return self.free is not None and terms.name.variant_id == self.free.name.variant_id

    def makes_way(self, kept: Kept) -> bool:
        """Whether it is on the free plan, or on what was the free plan when it was made."""
        return kept.is_free or self.is_free(kept.rules.terms)

    def is_due(self, at: int) -> bool:
        """Whether one of them changes by itself by then."""
        return self.next_at() <= min(at, NEVER_AT - 1)

    def ends(self, subscription_id: UUID, at: int) -> bool:
        """Whether a subscription ends by itself just then."""
        kept = self.find(subscription_id)
        return kept is not None and kept.rules.ends_with_period and kept.rules.period.end_at == at

    def advance(self) -> list[Happened]:
        """Take the step that comes next by itself, of whichever it is: the one that is due first, dated so."""
        kept = min(self.subscriptions, key=self._next_at)
        at = self._next_at(kept)
        if kept.is_base and kept.rules.state is State.SCHEDULED and (free := self.base_in_force()) is not None:
            return self._end(free, at, None)
        before = self._informed(kept)
        after, effects = self._advance(kept, before, at)
        happened = Happened(kept, before, at, _by_time(effects), effects)
        return [self._note(happened, after), *self._fall_back(kept, at)]

    def carry_out(self, order: SubscriptionOrder, named: Named, at: int) -> list[Happened] | Refused:
        """Do what is ordered `at`, when all that is due by then has happened; nothing where it was done before."""
        if order.payment_reference is None:
            return self._do(order, named, at)
        return self._pay(order, named, at, order.payment_reference)

    def _do(self, order: SubscriptionOrder, named: Named, at: int) -> list[Happened] | Refused:
        if isinstance(order, Subscribe):
            return self._subscribe(order, named.terms[order.variant_id], at)
        kept = self.find(order.subscription_id)
        return Refused(Code.NOT_FOUND) if kept is None else self._act(kept, order, named, at)

    def _pay(self, order: SubscriptionOrder, named: Named, at: int, reference: str) -> list[Happened] | Refused:
        """What a payment does, it does once; nothing where it comes again for that."""
        kept = self.find(order.subscription_id)
        present = None if kept is None else kept.rules
        if (paid := named.payments.get((self.environment_id, reference))) is not None:
            is_what = paid.is_what(order)
            is_undone = is_what and paid.is_undone(present)
            return [] if is_what and not is_undone else payments.refuse_used(paid, reference, is_undone=is_undone)
        done = self._do(order, named, at)
        if isinstance(done, Refused):
            return done
        happened = next((each for each in done if each.kept.id == order.subscription_id), None)
        if happened is None or happened.action is None:
            return payments.refuse_unneeded(order, present)
        paid = Paid(order.subscription_id, happened.action, order.variant_id)
        named.payments[self.environment_id, reference] = paid
        return done

    # ---- making

    def _subscribe(self, order: Subscribe, terms: SubscriptionTerms, at: int) -> list[Happened] | Refused:
        starts_at = at if order.starts_at is None else max(order.starts_at, at)
        happened: list[Happened] = []
        if (
            len(self.subscriptions) >= MAX_EVER
            or sum(not kept.is_terminal for kept in self.subscriptions) >= MAX_IN_FORCE
        ):
            return Refused(Code.TOO_MANY_SUBSCRIPTIONS)
        if terms.name.plan_kind is PlanKind.BASE:
            if (other := self._in_the_way(terms)) is not None:
                return Refused(Code.SUBSCRIPTION_EXISTS, context=naming(other.id))
            if starts_at <= at and (free := self.base_in_force()) is not None:
                happened = self._end(free, at, order)
        has_trial = order.with_trial and not self._had_trial(terms.name.plan_id)
        made = self._make(order.subscription_id, terms, starts_at, at, has_trial=has_trial, contract=order.contract)
        return [*happened, *self._begin(made, Notice.CREATED, CREATE, at, order)]

    def _in_the_way(self, terms: SubscriptionTerms) -> Kept | None:
        """A base subscription that leaves no place for another: only the free plan makes way."""
        if (to_come := self.base_to_come()) is not None:
            return to_come
        present = self.base_in_force()
        if present is None or (self.makes_way(present) and not self._is_same_variant(present, terms)):
            return None
        return present

    @staticmethod
    def _is_same_variant(kept: Kept, terms: SubscriptionTerms) -> bool:
        return kept.rules.terms.name.variant_id == terms.name.variant_id

    def _had_trial(self, plan_id: UUID) -> bool:
        """Whether the customer has had the plan's trial, or has come to the plan by a trial of another."""
        return any(
            kept.trial_plan_id == plan_id or (kept.rules.has_trial and kept.rules.terms.name.plan_id == plan_id)
            for kept in self.subscriptions
        )

    def _make(
        self,
        subscription_id: UUID,
        terms: SubscriptionTerms,
        starts_at: int,
        at: int,
        *,
        has_trial: bool = False,
        contract: Contract | None = None,
    ) -> Kept:
        """A subscription that is still to start."""
        rules = subscribe(terms, starts_at, self.zone, has_trial=has_trial, contract=contract)
        made = Kept(subscription_id, self.id, rules, self._after_all_others(at), self.is_free(terms))
        made.trial_plan_id = terms.name.plan_id if rules.has_trial else None
        return made

    def _after_all_others(self, at: int) -> int:
        """When it is made: which one came last is seen by this, also where time stands still."""
        return max(at, self.subscriptions[-1].created_at + 1) if self.subscriptions else at

    def _begin(self, made: Kept, notice: Notice, action: str, at: int, by: SubscriptionOrder | None) -> list[Happened]:
        """Add what was made, and start it where that is due. That it was made is told first."""
        self.subscriptions.append(made)
        effects: list[Effect] = [Announced(at, notice)]
        rules = self._informed(made)
        while next_at(rules) <= at:
            rules, more = self._advance(made, rules, at)
            effects += more
        made.rules = rules
        return [self._note(Happened(made, None, at, action, effects, by), rules)]

    def _advance(self, kept: Kept, rules: Subscription, at: int) -> tuple[Subscription, list[Effect]]:
        if rules.state is State.SCHEDULED and (left := self._left(kept)) is not None:
            at = rules.period.start_at
            after, effects = come_back(rules, left.rules, at)
            return after, [TakenOver(at, left.id), *effects]
        return advance(rules, at)

    def _left(self, kept: Kept) -> Kept | None:
        """With which subscription the customer left the free plan, where they come back to it with this one."""
        if not self.makes_way(kept):
            return None
        on_it = (each for each in reversed(self.subscriptions) if self._is_same_variant(each, kept.rules.terms))
        return next((each for each in on_it if each is not kept and each.rules.has_begun), None)

    # ---- acting

    def _act(self, kept: Kept, order: Act, named: Named, at: int) -> list[Happened] | Refused:
        wanted = None if order.variant_id is None else named.terms[order.variant_id]
        if wanted is not None and (why_not := self._why_not(kept, wanted)) is not None:
            return why_not
        if wanted is not None and order.unless_leaving and is_leaving(kept.rules, wanted.name.variant_id):
            return Refused(Code.ACTION_REFUSED, context={**naming(kept.id), "why": "leaving"})
        before, action = self._informed(kept), order.action
        if wanted is not None and order.only_upwards and not is_upgrade(before.terms, wanted):
            action = Action.SCHEDULE_CHANGE
        try:
            after, effects = act(
                before, action, Arguments(wanted, order.period_index, order.payment_reference is not None), at
            )
        except IllegalMove as illegal:
            return Refused(Code.ILLEGAL_MOVE, context=_illegal(kept, illegal, self._possible(kept, at)))
        except ActionRefused as refused:
            return Refused(Code.ACTION_REFUSED, context={**naming(kept.id), "why": refused.refusal.value})
        if after == before and not effects:
            return []  # it was done before
        happened = Happened(kept, before, at, action.value, effects, order)
        return [self._note(happened, after), *self._fall_back(kept, at)]

    def _why_not(self, kept: Kept, wanted: SubscriptionTerms) -> Refused | None:
        """Why a subscription cannot become one to another variant.

        The free plan is left by subscribing to another, and come back to by cancelling: what it gives is given once.
        """
        present, to_come = kept.rules.terms.name, self.base_to_come()
        if wanted.name.plan_kind is not present.plan_kind:
            return Refused(Code.PLAN_KIND_DIFFERS)
        if kept.is_base and to_come is not None and to_come is not kept:  # which is to take its place
            return Refused(Code.SUBSCRIPTION_EXISTS, context=naming(to_come.id))
        if wanted.name.variant_id == present.variant_id:
            return None
        if self.makes_way(kept):
            return Refused(Code.ACTION_REFUSED, context={**naming(kept.id), "why": "from_free_plan"})
        if self.is_free(wanted):
            return Refused(Code.ACTION_REFUSED, context={**naming(kept.id), "why": "to_free_plan"})
        return None

    def _possible(self, kept: Kept, at: int) -> list[Action]:
        """What a client may do with it: the free plan changes to a newer version of itself, and to nothing else."""
        terms = kept.rules.terms
        newest = terms if self.free is None or not self.is_free(terms) else self.free
        possible = possible_actions(self._informed(kept), at, newest if self.makes_way(kept) else None)
        if self._why_not(kept, newest) is None:
            return possible
        return [action for action in possible if action not in {Action.CHANGE, Action.SCHEDULE_CHANGE}]

    def _end(self, kept: Kept, at: int, by: SubscriptionOrder | None) -> list[Happened]:
        """End the free plan, since another one takes its place."""
        before = self._informed(kept)
        after, effects = act(before, Action.CANCEL, Arguments(), at)
        return [self._note(Happened(kept, before, at, "replace", effects, by), after)]

    def _fall_back(self, ended: Kept, at: int) -> list[Happened]:
        """Where a base subscription has ended the customer is on the free plan again."""
        if not (ended.is_base and ended.is_terminal) or self.free is None or self.is_free(ended.rules.terms):
            return []
        if self.base_in_force() is not None:  # what has ended had not begun
            return []
        fallen_id = derived_id(b"fell back", ended.id.hex.encode())
        return self._begin(self._make(fallen_id, self.free, at, at), Notice.FELL_BACK, "fall_back", at, None)

    def _informed(self, kept: Kept) -> Subscription:
        """The subscription, told what the customer was given once, by whichever it was."""
        given = frozenset[UUID]().union(*(each.rules.given_once for each in self.subscriptions))
        return replace(kept.rules, given_once=given)

    def _note(self, happened: Happened, after: Subscription) -> Happened:
        """Keep how the subscription stands now."""
        happened.kept.rules = after
        self.changed[happened.kept.id] = happened.kept
        return happened


def _by_time(effects: list[Effect]) -> str | None:
    """What the history calls a step that time has brought."""
    for effect in effects:
        match effect:
            case StateChanged():
                return effect.action.value
            case TermsChanged():
                return Action.CHANGE.value
            case PeriodTurned():
                return Action.TURN.value
            case _:
                continue
    return None


def _illegal(kept: Kept, illegal: IllegalMove, possible: list[Action]) -> dict[str, Any]:
    legal = [action.value for action in possible]
    return {**naming(kept.id), "state": illegal.state.value, "action": illegal.action.value, "legal": legal}
