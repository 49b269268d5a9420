"""What happens in a world, step by step at random; how it comes to rest; and what must hold then.

At rest the edge has the ledger's figures and counters, every acknowledged event is posted once, no account is stuck,
and the ledger is the one of a flusher without any lag.
"""

from random import Random
from unittest.mock import patch
from uuid import UUID

from app.rules import totals
from app.rules.moments import NEVER_AT
from app.wire.orders import BillOverage, Debit, VoidGrant, VoidUsage
from tests.protocol import processes
from tests.protocol.violation import Violation, check
from tests.protocol.world import AHEAD, REFS, World, name_of
from tests.wire.script_models import NOTHING_YET

RESTS, STEPS = 4, 60
"""How often a world comes to rest, and what happens before each."""
MOST_TASKS = 6
SETTLING_STEPS = 5_000
"""Far more than coming to rest takes."""
ATTEMPTS = 6
"""How often an edge asks before it gives up."""
ACTIONS = {
    "use": 28,
    "grant": 3,
    "plan": 1,
    "open": 2,
    "order": 3,
    "tick": 2,
    "evict": 3,
    "forget": 2,
    "flusher": 2,
    "deliver": 3,
    "die": 1,
    "advance": 55,
}
"""What can happen, and its usual weight."""
FAULTS = {
    "none": 1000,
    "restart": 2,
    "lose tail": 3,
    "wipe": 1,
    "empty": 1,
    "replicate": 8,
    "fail over": 4,
    "back up": 8,
    "fall back": 2,
}
NO_RULE: frozenset[str] = frozenset()
UNBOUNDED = 1 << 80
"""A modulus that no total reaches."""


def run(seed: int, *, faults: bool, without: frozenset[str] = NO_RULE) -> None:
    """One schedule from start to rest. Raises Violation, with the trace, where something does not hold."""
    world = World(seed, faults=faults, without=without)
    try:
        with patch.object(totals, "MODULUS", UNBOUNDED if "modulo" in without else totals.MODULUS):
            _run(world)
    except Violation as violation:
        head = f"seed {seed}, {'with' if faults else 'no'} faults, rules switched off: {', '.join(without) or 'none'}"
        raise Violation(violation.kind, "\n".join([head, *world.trace, str(violation)])) from violation


def _run(world: World) -> None:
    mood = Mood(world.random)
    flush(world)
    use_each(world)
    for _ in range(RESTS):
        for _ in range(STEPS):
            step(world, mood)
            if world.faults:
                fault(world)
        settle(world)


class Mood:
    """How often what happens in one world: each is unlike the others, so that rare things meet in some of them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._weights = [weight * random.choice([0.3, 1, 1, 3]) for weight in ACTIONS.values()]
        self.burst = random.choice([1, 2, 5])
        """The most steps that one process goes while the others stand still."""

    def action(self) -> str:
        """What happens next."""
        return self._random.choices(list(ACTIONS), self._weights)[0]


def step(world: World, mood: Mood) -> None:
    """Something happens."""
    random, action = world.random, mood.action()
    world.now += random.random() < 0.3
    ref = random.choice(list(world.ledger.accounts))
    match action:
        case "use":
            use(world, ref, world.new_id())
        case "flusher" if len(world.tasks) < MOST_TASKS:
            world.start_flusher()
        case "deliver" if world.flying:
            world.deliver()
        case "die" if world.tasks:
            world.end(random.randrange(len(world.tasks)))
        case "advance" if world.tasks:
            world.advance(random.randrange(len(world.tasks)), random.randint(1, mood.burst))
        case _:
            change(world, ref, action)


def use(world: World, ref: bytes, event: UUID) -> None:
    """Usage, now and then under a key that was used before."""
    random = world.random
    if random.random() < 0.2:
        event = random.choice(list(world.asked))
    ref, units = world.asked.get(event, (ref, random.randint(1, 250)))
    if world.use(ref, event, units, enforce=random.random() < 0.8) == b"miss" and len(world.tasks) < MOST_TASKS:
        world.start(f"load {name_of(ref)}", processes.load(world, ref))


def change(world: World, ref: bytes, action: str) -> None:
    """Core or jobs do something, or the server forgets what it may forget."""
    random, seen = world.random, world.server.memory.seen
    match action:
        case "tick":
            return world.tick(ref)
        case "order":
            return give(world, ref)
        case "evict":
            world.say(f"evict {name_of(ref)}")
            return world.server.drop(ref, world.new_token())
        case "forget" if seen:
            del seen[random.choice(list(seen))]
            return None
        case "grant":
            world.grant(
                ref, random.randint(1, 400), random.choice([NEVER_AT, world.now + AHEAD + random.randint(1, 40)])
            )
        case "plan":
            world.ledger.change(ref, random.choice(["s1", "s2"]))
        case "open" if len(world.ledger.accounts) < len(REFS):
            ref = REFS[len(world.ledger.accounts)]
            world.open(ref)
        case _:
            return None
    return world.start(f"publish {name_of(ref)}", processes.publish_accounts(world, [ref]))


def give(world: World, ref: bytes) -> None:
    """Core orders something, now and then what it ordered before."""
    random, ledger = world.random, world.ledger
    if world.ordered and random.random() < 0.2:
        ref, order = random.choice(list(world.ordered.values()))
        return world.order(ref, order)
    account_id = ledger.accounts[ref].id
    events = [event.id for event in ledger.events.values() if event.account_id == account_id]
    blocks = [block.id for block in ledger.accounts[ref].blocks]
    order_id, allow_debt = world.new_id(), random.random() < 0.5
    match random.choice(["debit", "bill", "void grant", "void usage"]):
        case "bill":
            return world.order(ref, BillOverage(order_id=order_id, actor="c"))
        case "void grant" if blocks:
            block_id = random.choice(blocks)
            return world.order(ref, VoidGrant(order_id=order_id, actor="c", block_id=block_id, allow_debt=allow_debt))
        case "void usage" if events:
            return world.order(ref, VoidUsage(order_id=order_id, actor="c", event_id=random.choice(events)))
    amount = random.randint(1, 400)
    return world.order(ref, Debit(order_id=order_id, actor="c", amount_micro=amount, allow_debt=allow_debt))


def fault(world: World) -> None:
    """Now and then a server dies, with or without its memory, or a store goes back to an older copy.

    Left out is what a flusher cannot see: writes that a server lost with its disk's newest page while the ledger posted
    nothing, and a replica that was started again, or copied anew, before a flusher looked. Accounts may miss what core
    published in between, until they are published again.
    """
    server, random = world.server, world.random
    fault = random.choices(list(FAULTS), list(FAULTS.values()))[0]
    match fault:
        case "restart" if server.is_adopted:
            server.restart()
        case "lose tail" if world.sees_lost_tail():
            server.lose_tail()
            world.lose()
        case "wipe":
            server.wipe(random.choice([NOTHING_YET, server.memory.newest_id]))
            world.lose()
        case "empty":
            server.empty()
            world.lose()
        case "replicate" if server.is_adopted:
            server.replicate()
        case "fail over" if server.replica:
            server.fail_over()
            world.lose()
        case "back up":
            world.back_up()
        case "fall back" if world.can_fall_back():
            world.fall_back()
        case _:
            return
    world.say(f"fault: {fault}")


def settle(world: World) -> None:
    """One flusher remains, what is in flight arrives; then each account is used once more."""
    flush(world)
    while world.flying:
        world.deliver()
    check_rest(world, tolerant=True)
    use_each(world)
    flush(world)
    check_rest(world, tolerant=False)


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
        answers = (_ask(world, ref, event) for _ in range(ATTEMPTS))
        check(b"ok" in answers, "stuck", name_of(ref))


def _ask(world: World, ref: bytes, event: UUID) -> bytes:
    answer = world.use(ref, event, 1, enforce=False)
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
    ledger, at = world.ledger, world.now + AHEAD
    for ref, account in world.server.memory.accounts.items():
        state, name = ledger.states([ref])[0], name_of(ref)
        shown = (account.revision, account.base, account.applied, account.valid_until, account.snapshot)
        applied = totals.wrap(state.applied_micro)
        known = (state.revision, state.base_micro, applied, state.valid_until, state.snapshot_id)
        check(shown == known, "not fresh", name, shown, known)
        if not (tolerant and ref in world.cost_lost):
            check(account.available == state.base_micro, "drift", name, account.available, state.base_micro)
        if not tolerant:
            counters = server_counters(world, ref), dict(state.beside.used)
            check(counters[0] == counters[1], "counters drift", name, *counters)
    lost = [event.hex[-4:] for event in world.acknowledged - ledger.events.keys()]
    check(not lost, "lost", lost)
    check(ledger.times_posted.keys() <= world.asked.keys(), "posted what nobody sent")
    check(set(ledger.times_posted.values()) <= {1}, "posted twice")
    forgotten = world.taken_orders - ledger.outcomes.keys()
    check(not forgotten, "an order is lost", forgotten)
    check(set(ledger.times_ordered.values()) <= {1}, "carried out twice")
    for ref in ledger.accounts:
        check(ledger.adds_up(ref), "the ledger does not add up", name_of(ref))
        if world.whole:
            got, want = ledger.summary(ref, at), world.reference.summary(ref, at)
            check(got == want, "the ledger depends on lag", name_of(ref), got, want)
