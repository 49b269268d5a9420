"""What must hold of every life of a customer with subscriptions. Each law raises AssertionError where it does not."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from random import Random
from typing import NamedTuple
from uuid import UUID

from msgspec import structs

from app.ledger.book import block_account
from app.ledger.draws_proof import BlockRow
from app.ledger.proof import AccountProof, Finding
from app.rules.actions import Arguments, act
from app.rules.agenda import catch_up
from app.rules.burndown import Block
from app.rules.effects import BlocksMoved, Effect, Granted, PeriodTurned, StateChanged, TakenOver, TermsChanged
from app.rules.grant_cycles import ahead_micro
from app.rules.lifecycle import TABLE, Action, State
from app.rules.moments import hour_of, to_at
from app.rules.subscriptions import Subscription
from app.subscriptions.book import Happened
from app.subscriptions.schemas import ClosedPeriod, SubscriptionTold
from app.wire.events import EntryKind
from app.wire.ids import parse
from app.wire.orders import Act, VoidUsage
from app.wire.reservations import ReservationEnd, ReservationState
from tests.flusher.batch_subjects import tick
from tests.flusher.pausing_laws import only_what_is_not_paid_for_waits_or_is_lost, what_comes_back_lives_its_time
from tests.flusher.subscriber_rows import Seen, SubscriberRows
from tests.flusher.subscribing_programs import Life, Part


def any_cut(life: Life) -> None:
    """40: posted one by one, by seven or all at once, the ledger and the subscriptions are the same."""
    one_by_one = life.rows.summary()
    assert life.again(7).summary() == one_by_one
    assert life.again(1_000).summary() == one_by_one


def catching_up_is_running_on_time(life: Life) -> None:
    """52: with hardly a tick, with some, and with one wherever something falls due: the same."""
    rarely = life.again(1_000, _without_ticks).summary()
    assert rarely == life.rows.summary()
    assert rarely == life.again(1_000, _with_ticks).summary()
    assert rarely == _on_time(life).summary()


def ticks_may_stop_half_way(life: Life) -> None:
    """52: what a tick leaves is posted by whatever comes next, in the same batch or another, as if it had gone on."""
    expected = life.rows.summary()
    for size, most_due in ((1, 1), (7, 3), (1_000, 5)):
        stopping = life.again(size, _with_ticks, most_due=most_due)
        assert stopping.summary() == expected, (size, most_due)


def _without_ticks(part: Part) -> Part:
    """But for the last, which brings time to where the others are."""
    *others, last = part.entries
    return Part(part.catalogue, [*(entry for entry in others if entry.kind is not EntryKind.TICK), last])


def _with_ticks(part: Part) -> Part:
    """Some at random, as somebody leaves them who looks now and then."""
    random, entries = Random(len(part.entries)), part.entries[:1]
    for before, entry in pairwise(part.entries):
        between = entry.accepted_at - before.accepted_at
        looks = sorted(random.randint(0, between) for _ in range(random.randint(0, 4)))
        entries += [*(tick("user", before.accepted_at + look) for look in looks), entry]
    return Part(part.catalogue, entries)


def _on_time(life: Life) -> SubscriberRows:
    """As where jobs never sleep: a tick at each boundary, and each entry after all that is due by then."""
    rows = life.again(1, lambda part: Part(part.catalogue, []))
    for part in life.parts:
        rows.catalogue = part.catalogue
        for entry in part.entries:
            while (at := rows.account.next_boundary()) <= entry.accepted_at:
                rows.post([tick("user", at)])
            rows.post([entry])
    return rows


def each_cycle_is_granted_once(life: Life) -> None:
    """46: a block of each (subscription, template, cycle), whatever happens; what is given once, once to a customer."""
    assert not [block_id for block_id, times in Counter(life.rows.made).items() if times > 1]
    given = Counter(e.template.id for e in _granted(life) if e.template.every is None)
    assert all(times == 1 for times in given.values()), given


def word_goes_out_once(life: Life) -> None:
    """Each word of it has an id of its own, and comes once."""
    assert not [told for told, times in Counter(each.id for each in life.rows.announcements).items() if times > 1]


def periods_tile(life: Life) -> None:
    """47: each begins where the one before it ended; a pause moves the end, and a change of interval cuts it off."""
    for seen in _by_subscription(life).values():
        end_at, index = None, -1
        for happened, after in seen:
            cut_at = happened.at if any(isinstance(e, TermsChanged) for e in happened.effects) else None
            for effect in happened.effects:
                if isinstance(effect, PeriodTurned):
                    assert end_at in {None, effect.period.start_at} or effect.period.start_at == cut_at
                    assert effect.period_index == index + 1
                    end_at, index = effect.period.end_at, effect.period_index
                elif isinstance(effect, BlocksMoved) and end_at is not None and after.state is State.ACTIVE:
                    end_at += effect.by_microseconds
            assert after.state is State.SCHEDULED or end_at is None or after.period.end_at == end_at
            assert after.state is State.SCHEDULED or index < 0 or after.period_index == index


def a_period_is_renewed_once(life: Life) -> None:
    """48: a renewal that names its period may come again, whenever: nothing follows from it."""
    twice = life.again(1_000, lambda part: _with_twins(part, life.rows))
    once, again = life.rows.summary(), twice.summary()
    for name in once.keys() - {"outcomes"}:
        assert again[name] == once[name], name
    payments = Counter(change.payment_reference for change in life.rows.history if change.payment_reference)
    assert all(times == 1 for times in payments.values())


def _with_twins(part: Part, rows: SubscriberRows) -> Part:
    """The part with a twin of each renewal that was done, somewhere behind it."""
    random, entries = Random(len(part.entries)), [*part.entries]
    for entry in part.entries:
        order = entry.order
        is_named = isinstance(order, Act) and order.action is Action.RENEW and order.period_index is not None
        if order is None or not is_named or rows.outcomes[order.order_id].refused is not None:
            continue
        place = random.randint(entries.index(entry), len(entries) - 1)
        twin = structs.replace(order, order_id=UUID(int=2**64 + order.order_id.int))
        at = entries[place].accepted_at
        entries.insert(place + 1, structs.replace(entry, accepted_at=at, order=twin))
    return Part(part.catalogue, entries)


def unused_credit_rolls_or_expires(life: Life) -> None:
    """49: of what a cycle leaves its share rolls over, at most the cap, and nothing where the subscription ends.

    A change in the middle of a cycle makes another block of it; the cap is the cycle's.
    """
    rolled, unused = Counter[str](), Counter[str]()
    for transaction in life.rows.transactions:
        if transaction.kind in {"rollover", "expiry"}:
            name, amount = transaction.lines[0]
            unused[name] -= amount
            rolled[name] -= amount * (transaction.kind == "rollover")
    rules = {g.id: g.rollover for part in life.parts for terms in part.catalogue.terms.values() for g in terms.grants}
    cycles: dict[tuple[UUID, UUID, int], list[Block]] = defaultdict(list)
    for block in life.rows.blocks.values():
        tie = None if block.terms is None else block.terms.tie
        if tie is not None and block.source == "plan":
            cycles[tie.subscription_id, tie.template_id, block.expires_at].append(block)
        else:
            assert not rolled[block_account(block.id)]
    for (_, template_id, _), blocks in cycles.items():
        rule, names = rules[template_id], [block_account(block.id) for block in blocks]
        share = 0 if rule is None else rule.share_millionths
        whole = sum(unused[name] * share // 1_000_000 for name in names)
        due = whole if rule is None or rule.cap_micro is None else min(whole, rule.cap_micro)
        ends, in_all = _ends_before(life, blocks[0]), sum(rolled[name] for name in names)
        assert in_all in ({0} if ends else {due} if ends is False else {0, due}), (blocks, in_all, due)


def nothing_rolls_over_unpaid(life: Life) -> None:
    """Where nobody pays for the period, nothing of what would have rolled over into it is left, nor was it used."""
    for kept in life.rows.subscriptions():
        period = kept.rules.period
        if kept.rules.state is not State.EXPIRED:
            continue
        for block in life.rows.blocks.values():
            tie = None if block.terms is None else block.terms.tie
            is_of_it = tie is not None and tie.subscription_id == kept.id and block.source == "rollover"
            if is_of_it and block.effective_at == period.end_at:
                moved = [
                    t.kind for t in life.rows.transactions for name, _ in t.lines if name == block_account(block.id)
                ]
                assert moved == ["rollover", "pause"], (block, moved)


def _ends_before(life: Life, block: Block) -> bool | None:
    """Whether its subscription has ended when the block expires; None = just then, so that it may be either."""
    terms = block.terms
    for change in life.rows.history:
        if terms is None or terms.tie is None or change.subscription_id != terms.tie.subscription_id:
            continue
        if State(change.state_after) in {State.CANCELED, State.EXPIRED} and to_at(change.at) <= block.expires_at:
            is_just_then = to_at(change.at) == block.expires_at and change.action != Action.END
            return None if is_just_then else True
    return False


def parts_sum_to_what_a_change_is_worth(life: Life) -> None:
    """50: what the new grants are worth for the time that remains, above the old ones and what was given ahead."""
    for happened, after in life.rows.seen:
        before = happened.before
        changes = [effect for effect in happened.effects if isinstance(effect, TermsChanged)]
        if before is None or happened.action != Action.CHANGE or happened.by is None or len(changes) != 1:
            continue
        at = happened.at
        known = {(cycle.template_id, cycle.present) for cycle in before.cycles}
        # One that begins just now, and was not there before, is granted whole.
        cycles = [c for c in after.cycles if c.present.start_at < at or (c.template_id, c.present) in known]
        middle = structs.replace(after, cycles=tuple(cycles))
        of_middle = {cycle.template_id for cycle in cycles}
        granted = [e for e in happened.effects if isinstance(e, Granted) and e.template.id in of_middle]
        ahead = 0 if before.ahead is None or before.ahead.until_at <= at else before.ahead.amount_micro
        worth = floor(_worth(middle, at) - _worth(before, at)) - ahead
        assert sum(effect.amount_micro for effect in granted) == max(worth, 0), happened


def _worth(subscription: Subscription, at: int) -> Fraction:
    """What the cycles that are running are worth for the time that remains of them."""
    amounts = {template.id: template.amount_micro for template in subscription.terms.grants}
    spans = [(c.template_id, c.present) for c in subscription.cycles if at < c.present.end_at]
    shares = [Fraction(s.end_at - at, s.end_at - s.start_at) * amounts[template_id] for template_id, s in spans]
    return sum(shares, Fraction())


def who_comes_back_goes_on_like_who_stayed(life: Life) -> None:
    """46, 50: in a cycle of the free plan that they had before they left it, customers come back to the cycles of who
    stayed, and are granted as much: nothing, or what a change to a newer version gives.
    """  # noqa: D205 - one sentence more
    for left, happened, after in _comings_back(life):
        at = happened.at
        given = [*left.cycles, *(former.cycle for former in left.former)]
        if left.state is not State.ACTIVE or all(cycle.present.end_at <= at for cycle in given):
            continue
        stayed, change = catch_up(left, at)[0], list[Effect]()
        if stayed.terms != left.terms or stayed.state is not State.ACTIVE:
            continue  # that was to happen, had they stayed
        has_gone_on = stayed.cycles != left.cycles
        if after.terms.version_id != stayed.terms.version_id:
            stayed, change = act(stayed, Action.CHANGE, Arguments(after.terms), at)
        assert {(c.template_id, c.present) for c in after.cycles} == {(c.template_id, c.present) for c in stayed.cycles}
        if not has_gone_on:
            assert _recurring(happened.effects) == _recurring(change), happened
            assert ahead_micro(after, at) == ahead_micro(stayed, at), happened


def who_comes_back_has_what_they_left(life: Life) -> None:
    """49: what a cycle gave that goes on is of the subscription with which they came back, spent or not: that one's
    pauses move it, and what is left of it rolls over unless that one ends.
    """  # noqa: D205 - one sentence more
    cycles = {kept.id: [cycle.present for cycle in kept.rules.cycles] for kept in life.rows.subscriptions()}
    taken = [e for happened, _ in life.rows.seen for e in happened.effects if isinstance(e, TakenOver)]
    for effect in taken:
        going_on = [present for present in cycles[effect.left_id] if present.end_at > effect.at]
        for block in life.rows.blocks.values():
            tie = None if block.terms is None else block.terms.tie
            is_of_left = tie is not None and tie.subscription_id == effect.left_id
            begins = [present.start_at for present in going_on if present.end_at == block.expires_at]
            is_of_cycle = any(start_at <= block.effective_at <= effect.at for start_at in begins)
            assert not is_of_left or not is_of_cycle, (effect, block)


def _comings_back(life: Life) -> Iterator[tuple[Subscription, Happened, Subscription]]:
    """(how the subscription stood with which the free plan was left, with what it is come back to, how that stands)."""
    free = life.parts[0].catalogue.free
    last: dict[UUID, Subscription] = {}
    for happened, after in life.rows.seen:
        if free is None or after.terms.name.variant_id != free.name.variant_id:
            continue
        is_start = any(isinstance(e, StateChanged) and e.action is Action.START for e in happened.effects)
        if is_start and last:
            yield [*last.values()][-1], happened, after
        if after.has_begun and not is_start and happened.before is not None:
            last[happened.kept.id] = happened.before


def _recurring(effects: Sequence[Effect]) -> int:
    return sum(e.amount_micro for e in effects if isinstance(e, Granted) and e.template.every is not None)


def states_move_along_the_table(life: Life) -> None:
    """51: in the order of what happened, and so does the history, which has a number for each change."""
    for seen in _by_subscription(life).values():
        state = State.SCHEDULED
        for happened, after in seen:
            assert happened.before is None or happened.before.state is state
            for effect in happened.effects:
                if isinstance(effect, StateChanged):
                    assert (effect.before, TABLE[state].get(effect.action)) == (state, effect.after)
                    state = effect.after
            assert after.state is state
    for subscription_id in life.rows.table:
        changes = [change for change in life.rows.history if change.subscription_id == subscription_id]
        assert [change.number for change in changes] == list(range(1, len(changes) + 1))
        states = [change.state_after for change in changes]
        assert [change.state_before for change in changes] == [None, *states[:-1]]


def one_trial_of_a_plan(life: Life) -> None:
    """A customer tries each plan once."""
    trials = Counter(
        after.terms.name.plan_id
        for happened, after in life.rows.seen
        for effect in happened.effects
        if isinstance(effect, StateChanged) and effect.action is Action.START_TRIAL
    )
    assert all(times == 1 for times in trials.values()), trials


def debt_is_billed_before_credit_comes(life: Life) -> None:
    """Where a period turns, the bill of the one that is over stands before what is granted for the next."""
    for bill in life.rows.transactions:
        if bill.kind != "overage_billed" or bill.actor != "flusher":
            continue
        for happened, _ in life.rows.seen:
            if happened.by is None and happened.at == bill.posted_at and happened.kept.is_base:
                before = [t for t in life.rows.transactions if t.posted_at == bill.posted_at and t.seq < bill.seq]
                reasons = [t.reason for t in before if t.kind == "grant" and t.reason and t.reason.startswith("sub_")]
                assert happened.kept.id not in {parse("sub", reason.split()[0]) for reason in reasons}


def all_that_was_used_is_told_once(life: Life) -> None:
    """Each closed period tells what came since the one before was closed, or since the subscription began.

    But for events that are dated before the hour in which the period begins; and a void of what came before takes
    nothing from it. What came in the very moment of a close may be on either side of it: such periods are left out.
    """
    begun, told = dict[UUID, int](), set[UUID]()
    for happened, _ in life.rows.seen:
        if any(isinstance(effect, PeriodTurned) for effect in happened.effects):
            begun.setdefault(happened.kept.id, happened.at)
    used = _used(life)
    for word in life.rows.announcements:
        if not isinstance(word.data, SubscriptionTold) or not isinstance(word.data.closed_period, ClosedPeriod):
            continue
        closed, subscription_id = word.data.closed_period, parse("sub", word.data.subscription_id)
        since_at, begun[subscription_id] = begun[subscription_id], word.at
        period_at = to_at(closed.period_start)
        came = [each for each in used if since_at <= each.at <= word.at and each.hour_at >= hour_of(period_at)]
        came = [each for each in came if each.came_at >= min(since_at, period_at)]
        if any({each.came_at, each.at} & {since_at, word.at} for each in came):
            continue
        shown = [(each.units.micro, each.credits.micro, each.events) for each in closed.usage]
        whole = tuple(map(sum, zip(*(each.figures for each in came), strict=True)))
        assert shown == ([whole] if any(whole) else []), (subscription_id, closed, came)
        told.add(subscription_id)


class _Used(NamedTuple):
    """What an entry adds to what was used, or a void takes from it."""

    came_at: int
    """When the event was accepted."""
    at: int
    """When that was, or its void."""
    hour_at: int
    figures: tuple[int, int, int]
    """Micro-units, micro-credits, events."""


def _used(life: Life) -> list[_Used]:
    used, voids, events = list[_Used](), set[UUID](), dict[UUID, _Used]()
    for entry in (entry for part in life.parts for entry in part.entries):
        payload, order, at = entry.payload, entry.order, entry.accepted_at
        if payload is not None:
            hour_at = hour_of(payload.occurred_at or at)
            events[payload.event_id] = _Used(at, at, hour_at, (payload.units_micro, entry.cost_micro, 1))
            used.append(events[payload.event_id])
        elif isinstance(end := entry.reservation, ReservationEnd) and end.state is ReservationState.COMMITTED:
            events[end.reservation_id] = _Used(at, at, hour_of(at), (end.units_micro, end.used_micro, 1))
            used.append(events[end.reservation_id])
        elif isinstance(order, VoidUsage) and order.order_id not in voids:
            voids.add(order.order_id)
            if life.rows.outcomes[order.order_id].refused is None:
                voided = events[order.event_id]
                units, cost, count = voided.figures
                used.append(voided._replace(at=at, figures=(-units, -cost, -count)))
    return used


def what_a_pause_sets_aside_waits(life: Life) -> None:
    """Lines sum to zero; what is set aside is there while it is paused or overdue, and never less than nothing."""
    paused = Counter[str]()
    for transaction in life.rows.transactions:
        assert sum(amount for _, amount in transaction.lines) == 0
        for name, amount in transaction.lines:
            assert amount
            if name.startswith("paused:"):
                paused[name] += amount
                assert paused[name] >= 0
    for kept in life.rows.subscriptions():
        aside = sum(block.remaining_micro for block in kept.set_aside)
        assert paused.pop(f"paused:{kept.id}", 0) == aside
        assert not aside or kept.rules.state in {State.PAUSED, State.OVERDUE}
    assert not any(paused.values())


def the_proof_accepts_it(life: Life) -> None:
    """1-13, 22-24, 28-31: what `quotastack ledger verify` proves of an account."""
    assert findings_of(life.rows) == []


def findings_of(rows: SubscriberRows) -> list[Finding]:
    """What the proof says of them."""
    found = list[Finding]()
    blocks = [BlockRow(block, block.granted_micro, rows.lost_at(block)) for block in rows.blocks.values()]
    proof = AccountProof(rows.account, blocks, lambda *finding: found.append(Finding(*finding)))
    for transaction in rows.transactions:
        proof.begin(transaction)
        for event in sorted(rows.events.values(), key=lambda event: event.id):
            if event.seq == transaction.seq:
                proof.add_event(event.chained())
        for reservation in rows.reservations.values():
            if reservation.opened_seq == transaction.seq:
                proof.reservations.add(reservation)
        proof.end()
    proof.finish()
    return found


def _granted(life: Life) -> list[Granted]:
    return [effect for happened, _ in life.rows.seen for effect in happened.effects if isinstance(effect, Granted)]


def _by_subscription(life: Life) -> dict[UUID, list[Seen]]:
    found: dict[UUID, list[Seen]] = defaultdict(list)
    for seen in life.rows.seen:
        found[seen.happened.kept.id].append(seen)
    return found


LAWS: tuple[Callable[[Life], None], ...] = (
    any_cut,
    catching_up_is_running_on_time,
    ticks_may_stop_half_way,
    each_cycle_is_granted_once,
    word_goes_out_once,
    periods_tile,
    a_period_is_renewed_once,
    unused_credit_rolls_or_expires,
    nothing_rolls_over_unpaid,
    parts_sum_to_what_a_change_is_worth,
    who_comes_back_goes_on_like_who_stayed,
    who_comes_back_has_what_they_left,
    states_move_along_the_table,
    one_trial_of_a_plan,
    debt_is_billed_before_credit_comes,
    all_that_was_used_is_told_once,
    what_a_pause_sets_aside_waits,
    what_comes_back_lives_its_time,
    only_what_is_not_paid_for_waits_or_is_lost,
    the_proof_accepts_it,
)
