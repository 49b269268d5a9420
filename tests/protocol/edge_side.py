"""What edges ask of Redis about usage, and jobs and core about ticks and orders: each call is one script, looked at."""

from typing import TYPE_CHECKING

from app.rules.moments import NEVER_AT
from app.wire.events import NO_PRICE, Rejection, UsagePayload, encode_rejection, encode_usage
from app.wire.orders import Order, encode_order
from tests.protocol.watching import watch
from tests.protocol.world import FEATURE, ITS_PLAN, LIMIT, ODD_FEATURE, PRICE_ID, World, name_of
from tests.wire.script_models import Accept

if TYPE_CHECKING:
    from uuid import UUID

TAKEN = (b"ok", b"seen")
REFUSED = [b"refused"]


def use(world: World, event: "UUID", *, enforce: bool) -> list[bytes]:
    """One usage request, asked again at once where plan or price were others; the script's last answer."""
    ref, units = world.asked[event]
    now_at, before, cost = world.clock(), world.server.memory.newest_id, 0
    answer = [b"snapshot", world.believed[ref].encode()]
    while answer[0] in {b"snapshot", b"reprice"}:
        if answer[0] == b"snapshot":
            world.believed[ref] = answer[1].decode()
        else:
            now_at = int(answer[1])
        snapshot = world.believed[ref]
        if event in world.odd and snapshot != ITS_PLAN:
            answer = _refuse_where_right(world, event, now_at)
            continue
        cost = units * world.price(snapshot, now_at)
        answer = world.server.accept(_call(world, event, now_at, cost, enforce=enforce))
    world.say(f"use {name_of(ref)} {event.hex[-4:]} at {now_at}: {cost} {enforce=} -> {answer}")
    watch(world, before, enforce=enforce)
    if answer[0] == b"seen" and not answer[1].startswith(_stored(enforce=enforce)):
        world.reused.add(event)
        return REFUSED
    return answer


def _fingerprint(*, enforce: bool) -> bytes:
    """Of what is asked under a key. Repeats differ in nothing else."""
    return b"%d" % enforce


def _stored(*, enforce: bool) -> bytes:
    return b"\x01" + _fingerprint(enforce=enforce)


def _call(world: World, event: "UUID", now_at: int, cost: int, *, enforce: bool) -> Accept:
    ref, units = world.asked[event]
    feature_key = ODD_FEATURE if event in world.odd else FEATURE
    payload = encode_usage(UsagePayload(event, feature_key, units, PRICE_ID, None, None, None))
    until_at = world.dearer_at if now_at < world.dearer_at and "reprice" not in world.without else NEVER_AT
    is_odd = event in world.odd
    return Accept(
        *(ref, event, now_at, world.believed[ref], cost, payload),
        enforce=enforce,
        fingerprint=_fingerprint(enforce=enforce),
        until_at=until_at,
        units_micro=0 if is_odd else units,
        counted=not is_odd,
        limit=None if is_odd else LIMIT,
    )


def _refuse_where_right(world: World, event: "UUID", now_at: int) -> list[bytes]:
    """The plan that the customer is believed to have lacks the feature: refused where it has that plan, now."""
    ref, memory = world.asked[event][0], world.server.memory
    account = memory.accounts.get(ref)
    if event in memory.seen:
        return [b"seen", memory.seen[event]]
    if account is None:
        return [b"miss"]
    if max(now_at, account.last_at) >= account.valid_until:
        tick(world, ref)
        return [b"wait"]
    return REFUSED if account.snapshot == world.believed[ref] else [b"snapshot", account.snapshot.encode()]


def reject(world: World, event: "UUID") -> None:
    """Leave in the stream why a spooled event will never be taken in."""
    ref, units = world.asked[event]
    sent = UsagePayload(event, ODD_FEATURE, units, NO_PRICE, None, None, None)
    before = world.server.memory.newest_id
    world.server.reject(ref, world.clock(), encode_rejection(Rejection("feature_not_in_plan", "", sent)))
    world.say(f"reject {name_of(ref)} {event.hex[-4:]}")
    world.appeared.add(event)
    watch(world, before)


def tick(world: World, ref: bytes) -> None:
    """The sweep that ticks accounts which nobody touches, or an edge at a boundary."""
    before = world.server.memory.newest_id
    world.say(f"tick {name_of(ref)} -> {world.server.tick(ref, world.clock())}")
    watch(world, before)


def order(world: World, ref: bytes, order: Order) -> None:
    """Core gives an order, or gives it again because no answer came."""
    world.ordered[order.order_id] = ref, order
    before = world.server.memory.newest_id
    answer = world.server.order(ref, world.clock(), encode_order(order))
    world.say(f"order {name_of(ref)} {order} -> {answer}")
    if answer == b"ok":
        world.taken_orders.add(order.order_id)
        watch(world, before)
