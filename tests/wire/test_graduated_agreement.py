"""Redis works graduated costs out as the rules do, with doubles: on random prices, counters and quantities."""

from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from app.rules.credits import MAX_COST_MICRO, MAX_UNITS_MICRO, MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import MAX_BOUND, MAX_DOUBLE, GraduatedPrice, Tier, cost_micro, faults, reduced
from app.wire import keys
from app.wire.snapshot import AccountState
from tests.wire.real_partition import PARTITION, RealPartition
from tests.wire.script_models import Accept, Load

if TYPE_CHECKING:
    from redis import Redis

SEQUENCES = 150
EVENTS = 12
REF, TOKEN, INCARNATION = b"a", b"token", "1f"
MAX_UNITS = MAX_UNITS_MICRO // MICRO


def random_price(random: Random) -> GraduatedPrice:
    """A price that may be set; its numbers are small as often as they are as large as they may be, and not reduced."""
    bounds = sorted({random.randint(1, random.choice([20, 10**6, MAX_BOUND])) for _ in range(random.randint(0, 6))})
    dearest = (MAX_DOUBLE - 1) // ((bounds[-1] if bounds else 0) + MAX_UNITS)
    amounts = [
        random.choice([random.randint(0, dearest), dearest, random.randint(0, 9)]) for _ in range(len(bounds) + 1)
    ]
    per, factor = random.choice([1, 2, 3, 8, random.randint(1, 10**6), 10**6]), random.choice([1, 997, 1000])
    tiers = tuple(Tier(up_to, amount * factor) for up_to, amount in zip([*bounds, None], amounts, strict=True))
    price = GraduatedPrice(tiers, per * factor)
    assert list(faults(price)) == []
    return price


def random_units(random: Random, price: GraduatedPrice, used: int) -> int:
    """Whole units of one event: few, many, or just to the bound of a tier, one less, one more."""
    to_bounds = [tier.up_to - used for tier in price.tiers if tier.up_to is not None]
    exact = [to_bound + shift for to_bound in to_bounds for shift in (-1, 0, 1)]
    fitting = [units for units in exact if 1 <= units <= MAX_UNITS]
    return random.choice([random.randint(1, 20), random.randint(1, MAX_UNITS), MAX_UNITS, *fitting])


def test_graduated_costs_agree(bare_valkey: "Redis") -> None:
    """Event after event, with the counter at every step: the script's cost is the rule's, to the last micro-credit."""
    random, dear, costly = Random(7), 0, 0
    for _ in range(SEQUENCES):
        price, used_micro = random_price(random), random.choice([0, 0, random.randint(0, 10**18), -5 * MICRO, 999_999])
        real = _loaded(bare_valkey)
        real.client.hset(keys.used(PARTITION, REF), "f", used_micro)
        for number in range(EVENTS):
            units = random_units(random, price, max(0, used_micro // MICRO))
            cost = cost_micro(price, units * MICRO, used_micro)
            call = Accept(REF, UUID(int=number), 5, "s", 0, graduated=price, units_micro=units * MICRO)
            answer = real.accept(call)
            if cost > MAX_COST_MICRO:
                assert answer == [b"dear", b"%d" % cost]
                dear += 1
            else:
                assert answer[1].startswith(b"+%d:" % cost), (price, used_micro, units)
                costly += cost > MAX_COST_MICRO // 10
            real.client.hset(keys.account(PARTITION, REF), "accepted", 0)  # as if all of it were posted
            used_micro = real.client.hincrby(keys.used(PARTITION, REF), "f", units * MICRO)
    assert min(dear, costly) > 30


def test_the_cost_stands_in_the_entry(bare_valkey: "Redis") -> None:
    """What the flusher posts is what was worked out, in digits, though it would print as a power of ten."""
    real = _loaded(bare_valkey)
    price = GraduatedPrice((Tier(None, MICRO),))
    call = Accept(REF, UUID(int=1), 5, "s", 0, graduated=price, units_micro=MAX_UNITS_MICRO)
    assert real.accept(call)[0] == b"ok"
    ((_, entry),) = real.client.xrange(keys.stream(PARTITION))
    assert entry[b"c"] == b"1000000000000000"


def test_what_is_sent_is_reduced() -> None:
    """15 credits per 1,000,000 tokens are 15 per 1: nothing near the end of the doubles."""
    price = GraduatedPrice((Tier(100, 15 * MICRO), Tier(None, 5 * MICRO)), 1_000_000)
    assert reduced(price) == GraduatedPrice((Tier(100, 15), Tier(None, 5)), 1)
    assert list(faults(price)) == []


def _loaded(client: "Redis") -> RealPartition:
    real = RealPartition(client)
    real.client.hset(keys.meta(PARTITION), "incarnation", INCARNATION)
    assert real.load_begin(REF, TOKEN)[0] == b"begun"
    figures = AccountState(REF, 1, 0, 0, NEVER_AT, 0, "s", "none", 0)
    assert real.load(Load(figures, TOKEN, INCARNATION)) == b"loaded"
    return real
