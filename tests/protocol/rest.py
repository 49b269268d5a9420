"""How a world comes to rest, and what must hold then.

At rest the edge has the ledger's figures, counters and open reservations; every acknowledged event, opening and end is
posted once, or listed; no account is stuck, nothing is open past its time, and the ledger is the one of a flusher
without any lag.
"""

from typing import TYPE_CHECKING

from app.rules import totals
from tests.protocol import edge_side, processes, reservations
from tests.protocol.violation import check
from tests.protocol.world import World, name_of

if TYPE_CHECKING:
    from uuid import UUID

    from app.ledger.book import Reservation

SETTLING_STEPS = 5_000
"""Far more than coming to rest takes."""
ATTEMPTS = 6
"""How often an edge asks before it gives up."""
ROUNDS = 40
"""How often spools are drained, and the stream flushed, until nothing is spooled."""


def settle(world: World) -> None:
    """One flusher remains, what is in flight arrives; then each account is used once more."""
    flush(world)
    while world.flying:
        world.deliver()
    check_rest(world, tolerant=True)
    drain(world)
    use_each(world)
    expire_all(world)
    flush(world)
    check_rest(world, tolerant=False)


def drain(world: World) -> None:
    """Edges take over what is left, and take in what is spooled."""
    for _ in range(ROUNDS):
        for edge in world.edges:
            edge.adopt()
        if all(edge.is_idle for edge in world.edges):
            return
        for edge in world.edges:
            edge.advance(12)
        flush(world)
    check(holds=False, kind="the spool is stuck")


def expire_all(world: World) -> None:
    """Jobs sweep: nothing stays open past its time."""
    while due := reservations.list_due(world):
        for key in due:
            answer = reservations.end(world, key, "expired", at=world.latest_at())
            check(answer in {b"ok", b"unknown"}, "does not expire", key.hex[-4:], answer)


def flush(world: World) -> None:
    """Every process dies but the flusher with the lease; it, or its successors, go on until there is nothing to do."""
    flusher = world.only_owner()
    for _ in range(SETTLING_STEPS):
        if not world.tasks:
            flusher = world.start_flusher()
        flusher.waiting = False
        world.advance(0, 1)
        if flusher.waiting:
            return
    check(holds=False, kind="never comes to rest")


def use_each(world: World) -> None:
    """No account is stuck: an edge that asks again, and again, is answered."""
    for ref in world.ledger.accounts:
        event = world.new_id()
        world.ask(event, ref, 1)
        answers = (_ask(world, ref, event) for _ in range(ATTEMPTS))
        check(b"ok" in answers, "stuck", name_of(ref))


def _ask(world: World, ref: bytes, event: "UUID") -> bytes:
    answer = edge_side.use(world, event, enforce=False)[0]
    if answer == b"ok" and event not in world.damaged:
        world.acknowledged.add(event)
    if answer != b"ok":
        flush(world)
    if answer == b"miss":
        others = len(world.tasks)
        world.start("load", processes.load(world, ref))
        while len(world.tasks) > others:
            world.advance(others, 1)
    return answer


def server_counters(world: World, ref: bytes) -> dict[str, int]:
    """What the edge has counted of an account."""
    return world.server.memory.used.get(ref, {})


def check_rest(world: World, *, tolerant: bool) -> None:
    """Edge = ledger = the ledger without lag; `tolerant` of accounts whose lost cost has not healed yet."""
    ledger, at = world.ledger, world.latest_at()
    for ref, account in world.server.memory.accounts.items():
        state, name = ledger.states([ref])[0], name_of(ref)
        shown = (account.revision, account.base, account.applied, account.valid_until, account.snapshot)
        applied = totals.wrap(state.applied_micro)
        # Where core published before the flusher did, a boundary that a return had kept stays: that costs one tick.
        until = state.valid_until if account.returned_until is None else min(state.valid_until, account.returned_until)
        known = (state.revision, state.base_micro, applied, until, state.snapshot_id)
        check(shown == known, "not fresh", name, shown, known)
        if not (tolerant and ref in world.cost_lost):
            check(account.available == state.base_micro, "drift", name, account.available, state.base_micro)
        if not tolerant:
            counters = server_counters(world, ref), dict(state.beside.used)
            check(counters[0] == counters[1], "counters drift", name, *counters)
    kept = {*ledger.events, *ledger.told, *(world.spooled() if tolerant else ())}
    lost = [event.hex[-4:] for event in world.acknowledged - kept]
    check(not lost, "lost", lost)
    check(ledger.told <= world.odd | world.reused, "rejected without a reason")
    check(ledger.times_posted.keys() <= world.asked.keys() | world.bookings.keys(), "posted what nobody sent")
    check(set(ledger.times_posted.values()) <= {1}, "posted twice")
    check_reservations(world)
    forgotten = world.taken_orders - ledger.outcomes.keys()
    check(not forgotten, "an order is lost", forgotten)
    check(set(ledger.times_ordered.values()) <= {1}, "carried out twice")
    for ref in ledger.accounts:
        check(ledger.adds_up(ref), "the ledger does not add up", name_of(ref))
        if world.whole:
            got, want = ledger.summary(ref, at), world.reference.summary(ref, at)
            check(got == want, "the ledger depends on lag", name_of(ref), got, want)


def check_reservations(world: World) -> None:
    """Edge = ledger, and what was answered about reservations stands."""
    ledger, memory = world.ledger, world.server.memory
    for ref, account in memory.accounts.items():
        own = ledger.accounts[ref]
        shown = account.reserved or 0, account.open or 0
        check(shown == (own.reserved_micro, own.open_reservations), "reserved drifts", name_of(ref), shown, own)
        held = {key: one.due for key, one in memory.reservations.items() if one.ref == ref and one.state == "open"}
        known = {one.key: one.due for one in ledger.open_reservations(ref)}
        check(held == known, "open ones differ", name_of(ref), held, known)
        due = {key: at for key, at in memory.due.items() if world.bookings[key].ref == ref}
        check(due == held, "due differs", name_of(ref), due, held)
    for key, one in ledger.reservations.items():
        check(ledger.holds(one) == one.reserved_micro * one.is_open, "reserved is not what is held", key.hex[-4:])
    for name in {name for name, _ in ledger.moves}:
        opened, ended = ledger.moves[name, True], ledger.moves[name, False]
        check(0 <= opened - ended <= 1, "opened or ended twice", name, opened, ended)
    for key, booking in world.bookings.items():
        one = ledger.reservations.get(key)
        check(one is not None or not booking.is_opened, "an opening is lost", key.hex[-4:])
        check_end(world, key, one)


def check_end(world: World, key: "UUID", one: "Reservation | None") -> None:
    """What was answered to a commit, a release or an extension stands.

    Of a key that was used again after Redis had forgotten it, the first commit does.
    """
    booking, event = world.bookings[key], world.ledger.events.get(key)
    cost = None if event is None else event.cost_micro
    if booking.is_again:
        check(not booking.is_charged or cost is not None, "a commit is lost", key.hex[-4:], booking)
        return
    if booking.ended is not None:
        check(one is not None and one.state.value == booking.ended, "an end is lost", key.hex[-4:], booking, one)
    if booking.ended == "committed" and booking.used is not None:
        check(cost == booking.used, "a commit is lost", key.hex[-4:], booking, cost)
    if booking.late is not None:
        is_known = cost == booking.late or (booking.is_older_than_loss and cost is not None)
        check(is_known, "a late commit is lost", key.hex[-4:], booking, cost)
    if one is not None and one.is_open:
        check(one.expires_at >= booking.due, "an extension is lost", key.hex[-4:], booking, one)
