"""What happens in a world, step by step at random."""

from itertools import accumulate
from random import Random
from unittest.mock import patch
from uuid import UUID

from app.rules import totals
from app.rules.moments import NEVER_AT
from app.wire.orders import BillOverage, Debit, VoidGrant, VoidUsage
from tests.protocol import edge_side, processes, reservations
from tests.protocol.bookings import Booking
from tests.protocol.rest import flush, settle, use_each
from tests.protocol.spool import Edge
from tests.protocol.violation import Violation
from tests.protocol.world import REFS, World, name_of
from tests.wire.script_models import NOTHING_YET

RESTS, STEPS = 4, 80
"""How often a world comes to rest, and what happens before each."""
MOST_TASKS = 6
ACTIONS = {
    "use": 28,
    "reserve": 10,
    "end": 13,
    "extend": 2,
    "sweep": 2,
    "drain": 10,
    "crash": 1,
    "grant": 4,
    "plan": 1,
    "open": 2,
    "order": 3,
    "tick": 2,
    "evict": 3,
    "forget": 2,
    "flusher": 2,
    "deliver": 3,
    "die": 1,
    "advance": 60,
}
"""What can happen, and its usual weight."""
ACTION_NAMES = [*ACTIONS]
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
FAULT_NAMES, FAULT_WEIGHTS = [*FAULTS], [*accumulate(FAULTS.values())]
NO_RULE: frozenset[str] = frozenset()
GREEDY = 0.3
"""How often somebody asks for all that is there."""
ODD = 0.1
"""How much of usage is of that feature."""
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
    mood, world.edges = Mood(world.random), [Edge(world), Edge(world)]
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
        self._weights = [*accumulate(weight * random.choice([0.3, 1, 1, 3]) for weight in ACTIONS.values())]
        self.burst = random.choice([1, 2, 5])
        """The most steps that one process goes while the others stand still."""
        self.pace = random.choice([0.1, 0.3, 0.6])
        """How fast time goes."""
        self.enforcing = random.choice([0.5, 0.8, 0.95])
        """How much of usage is enforced."""

    def action(self) -> str:
        """What happens next."""
        return self._random.choices(ACTION_NAMES, cum_weights=self._weights)[0]


def step(world: World, mood: Mood) -> None:
    """Something happens."""
    random, action = world.random, mood.action()
    world.now += random.random() < mood.pace
    ref = random.choice(list(world.ledger.accounts))
    match action:
        case "use":
            use(world, ref, mood)
        case "reserve":
            reserve(world, ref)
        case "end" | "extend" if world.bookings:
            end_or_extend(world, action)
        case "drain":
            random.choice(world.edges).advance(random.randint(1, 4))
        case "crash":
            crash(world)
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


def use(world: World, ref: bytes, mood: "Mood") -> None:
    """Usage, now and then under a key that was used before; some of a feature that not every plan has."""
    random, event = world.random, world.new_id()
    if random.random() < 0.2 and world.asked:
        event = random.choice(world.events)
    if event not in world.asked:
        world.ask(event, ref, all_there_is(world, ref) or random.randint(1, 250))
        world.odd |= {event} if random.random() < ODD else set()
    ref = world.asked[event][0]
    if random.choice(world.edges).use(event, enforce=random.random() < mood.enforcing) == b"miss":
        start_load(world, ref)


def all_there_is(world: World, ref: bytes) -> int:
    """Now and then somebody asks for all that a check says is there, so what is wrongly there is spent; 0 = not now."""
    account = world.server.memory.accounts.get(ref)
    if account is None or world.random.random() >= GREEDY:
        return 0
    return max(0, account.available)


def start_load(world: World, ref: bytes) -> None:
    """Core loads an account."""
    if len(world.tasks) < MOST_TASKS:
        world.start(f"load {name_of(ref)}", processes.load(world, ref))


def reserve(world: World, ref: bytes) -> None:
    """An opening, now and then one that was asked for before; where Redis has forgotten it, it opens again."""
    random, key = world.random, world.new_id()
    if random.random() < 0.3 and world.bookings:
        key = random.choice([*world.bookings])
    if key not in world.bookings:
        everything, amount = all_there_is(world, ref), random.randint(1, 250)
        in_credits = bool(everything) or random.random() < 0.5
        world.bookings[key] = Booking(ref, everything or amount, in_credits=in_credits)
    open_booked(world, key)


def open_booked(world: World, key: UUID) -> None:
    """Ask for it."""
    if reservations.reserve(world, key, world.random.choice([1, 3, 10, 30])) == b"miss":
        start_load(world, world.bookings[key].ref)


def spend_all(world: World, ref: bytes) -> None:
    """What has come back is spent at once."""
    if account := world.server.memory.accounts.get(ref):
        key = world.new_id()
        world.bookings[key] = Booking(ref, max(1, account.available), in_credits=True)
        open_booked(world, key)


def end_or_extend(world: World, action: str) -> None:
    """Something is asked about a reservation: mostly of an open one, and now and then anything of any."""
    random, memory = world.random, world.server.memory
    key = random.choice([*memory.due] if memory.due and random.random() < 0.7 else [*world.bookings])
    booking = world.bookings[key]
    if action == "extend":
        answer = reservations.extend(world, key, random.randint(1, 20))
    else:
        verb = random.choice(["committed", "committed", "released"])
        amount = random.choice([0, booking.amount, booking.amount + 20, random.randint(1, booking.amount)])
        answer = reservations.end(world, key, verb, amount if verb == "committed" else 0)
    answered(world, key, answer)
    if answer == b"ok" and random.random() < GREEDY:
        spend_all(world, booking.ref)


def answered(world: World, key: UUID, answer: bytes) -> None:
    """Where something is missing in Redis, core is asked for it."""
    if answer == b"miss":
        start_load(world, world.bookings[key].ref)
    elif answer == b"unknown" and len(world.tasks) < MOST_TASKS:
        world.start(f"put back {key.hex[-4:]}", reservations.put_back(world, key))


def sweep(world: World) -> None:
    """Jobs expire what is past due."""
    for key in reservations.list_due(world)[:2]:
        answered(world, key, reservations.end(world, key, "expired"))


def crash(world: World) -> None:
    """An edge dies; another begins, or one that is there takes over what it left."""
    number = world.random.randrange(len(world.edges))
    world.edges[number].die()
    world.edges[number] = Edge(world)
    world.say(f"edge {number} dies")
    world.random.choice(world.edges).adopt()


def change(world: World, ref: bytes, action: str) -> None:
    """Core or jobs do something, or the server forgets what it may forget."""
    random, seen = world.random, world.server.memory.seen
    match action:
        case "tick":
            edge_side.tick(world, ref)
        case "sweep":
            sweep(world)
        case "order":
            give(world, ref)
        case "evict":
            world.say(f"evict {name_of(ref)}")
            world.server.drop(ref, world.new_token())
        case "forget" if seen:
            del seen[random.choice(list(seen))]
            forget_ended(world)
        case "grant":
            expires_at = world.latest_at() + random.randint(1, random.choice([6, 40]))
            world.grant(ref, random.randint(1, 600), random.choice([NEVER_AT, expires_at]))
            publish(world, ref)
        case "plan":
            world.ledger.change(ref, random.choice(["s1", "s2"]))
            publish(world, ref)
        case "open" if len(world.ledger.accounts) < len(REFS):
            ref = REFS[len(world.ledger.accounts)]
            world.open(ref)
            publish(world, ref)
        case _:
            pass


def publish(world: World, ref: bytes) -> None:
    """Core publishes what it committed."""
    world.start(f"publish {name_of(ref)}", processes.publish_accounts(world, [ref]))


def forget_ended(world: World) -> None:
    """The window of a reservation that ended is over; it is longer than the flusher lags: the ledger has its end."""
    held, ledger = world.server.memory.reservations, world.ledger
    posted = held.keys() & ledger.reservations.keys() - world.reservations_under_way()
    ended = {key for key in posted if held[key].state != "open"}
    known = [key for key in ended if held[key].late is None or key in ledger.events]
    refused = [key for key, one in held.items() if one.state == "refused"]
    if over := sorted([*known, *refused]):
        del held[world.random.choice(over)]


def give(world: World, ref: bytes) -> None:
    """Core orders something, now and then what it ordered before."""
    random, ledger = world.random, world.ledger
    if world.ordered and random.random() < 0.2:
        ref, order = random.choice(list(world.ordered.values()))
        return edge_side.order(world, ref, order)
    account_id = ledger.accounts[ref].id
    events = [event.id for event in ledger.events.values() if event.account_id == account_id]
    blocks = [block.id for block in ledger.accounts[ref].blocks]
    order_id, allow_debt = world.new_id(), random.random() < 0.5
    match random.choice(["debit", "bill", "void grant", "void usage"]):
        case "bill":
            return edge_side.order(world, ref, BillOverage(order_id=order_id, actor="c"))
        case "void grant" if blocks:
            block_id = random.choice(blocks)
            return edge_side.order(
                world, ref, VoidGrant(order_id=order_id, actor="c", block_id=block_id, allow_debt=allow_debt)
            )
        case "void usage" if events:
            return edge_side.order(world, ref, VoidUsage(order_id=order_id, actor="c", event_id=random.choice(events)))
    amount = random.randint(1, 400)
    return edge_side.order(world, ref, Debit(order_id=order_id, actor="c", amount_micro=amount, allow_debt=allow_debt))


def fault(world: World) -> None:
    """Now and then a server dies, with or without its memory, or a store goes back to an older copy.

    Left out is what a flusher cannot see: writes that a server lost with its disk's newest page while the ledger posted
    nothing, and a replica that was started again, or copied anew, before a flusher looked. Accounts may miss what core
    published in between, until they are published again.
    """
    server, random = world.server, world.random
    fault = random.choices(FAULT_NAMES, cum_weights=FAULT_WEIGHTS)[0]
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
