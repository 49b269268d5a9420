"""Taking spooled usage to Redis: each customer's in order, many customers at a time.

An event goes the way of any other, at the prices and blocks of this moment, under the id that it was acknowledged with;
taken to Redis twice it has one effect. What will never be taken in is left in the stream as rejected.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn
from uuid import UUID

from app.wire.codes import Code
from app.wire.events import NO_PRICE, EntryKind, Rejection, UsagePayload, encode_rejection
from app.wire.fingerprint import usage_fingerprint
from app.wire.ids import show
from edge.accounts import Account
from edge.attempt import not_posted_yet
from edge.decoding import UsageEvent
from edge.exchange import as_refusal
from edge.recording import Outcome, Recording
from edge.refusals import Refusal
from edge.services import Services
from edge.spool_format import NoWholeRecord, SpooledUsage
from edge.spool_waiting import Waiting

CUSTOMERS_AT_ONCE = 64
"""Of those with nothing in their way, and of those who are tried again."""
EVENTS_AT_ONCE = 32
"""Of one customer, once the first has found nothing in its way."""
PAUSE_SECONDS = (0.05, 1.0)
"""First and longest pause before a customer whose usage cannot be taken in is tried again."""
REST_SECONDS = 0.1
"""Between two tries of customers who are tried again, where the first was in vain: many of them are no storm."""
LOADS_AT_ONCE = 64
"""Accounts and plans that core is asked for; what live requests may ask for is many times that."""
LOAD_SECONDS = 0.05
"""How long a turn waits for one of them. A core that takes longer goes on meanwhile, and is looked at the next time."""
MAX_FAULTS = 5
"""Faults of ours in a row after which an event is rejected, so that it does not hold up its customer for ever."""


async def drain(services: Services) -> None:
    """Take spooled usage in whenever there is some, also of workers that have died; runs until cancelled."""
    async with asyncio.TaskGroup() as group:
        loads = Loads(group)
        group.create_task(services.spool.adopt_now_and_then())
        for _ in range(CUSTOMERS_AT_ONCE):
            group.create_task(_take_turns(services, loads))
            group.create_task(_try_again(services, loads))


class Loads:
    """What is asked of core for spooled usage: under way beside the turns, however long it takes."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._under_way: dict[bytes, asyncio.Task[Refusal | None]] = {}

    async def have(self, name: bytes, load: Callable[[], Awaitable[None]]) -> None:
        """Return once it was loaded. Raises Refusal: as core answered, or that it is under way."""
        task = self._under_way.get(name)
        if task is None and len(self._under_way) >= LOADS_AT_ONCE:  # some may have been asked for by who is gone
            self._under_way = {other: one for other, one in self._under_way.items() if not one.done()}
        if task is None and len(self._under_way) < LOADS_AT_ONCE:
            task = self._under_way[name] = self._group.create_task(_outcome(name, load))
        if task is None or not (await asyncio.wait({task}, timeout=LOAD_SECONDS))[0]:
            raise Refusal(Code.ACCOUNT_LOADING, "What is missing is being loaded; the event is tried again.")
        self._under_way.pop(name, None)
        if (refusal := task.result()) is not None:
            raise refusal


async def _outcome(name: bytes, load: Callable[[], Awaitable[None]]) -> Refusal | None:
    """Why it was not loaded."""
    try:
        await load()
    except Exception as error:  # noqa: BLE001 - who asked is told, and tries again
        return as_refusal(error, name)
    return None


async def _take_turns(services: Services, loads: Loads) -> NoReturn:
    """Of customers with nothing in their way, as far as anybody knows."""
    while True:
        await _take_turn(services, loads, await services.spool.in_turn.get())


async def _try_again(services: Services, loads: Loads) -> NoReturn:
    """Of the others: however many they are, and however long a try takes, they hold up nobody else."""
    while True:
        if not await _take_turn(services, loads, await services.spool.again.get()):
            await asyncio.sleep(REST_SECONDS)


async def _take_turn(services: Services, loads: Loads, waiting: Waiting) -> bool:
    """Take a customer's first events in; whether nothing was in their way."""
    account = services.accounts.find(waiting.ref)
    places = waiting.first(waiting.width)
    done = await asyncio.gather(*[_take_in(services, loads, account, waiting, place) for place in places])
    if all(done):
        waiting.width, waiting.pause_seconds, waiting.faults = EVENTS_AT_ONCE, 0.0, 0
    else:
        first, longest = PAUSE_SECONDS
        waiting.width, waiting.pause_seconds = 1, min(max(first, 2 * waiting.pause_seconds), longest)
    services.spool.settle(waiting, done)
    return all(done)


async def _take_in(services: Services, loads: Loads, account: Account, waiting: Waiting, place: int) -> bool:
    """Whether the event at a place is done with; else it is to be tried again.

    Only one that goes alone is given up for a fault of ours: many at once say nothing of each.
    """
    is_alone = waiting.width == 1
    is_last_try = is_alone and waiting.faults >= MAX_FAULTS
    try:
        usage = services.spool.read(place)
    except (OSError, NoWholeRecord) as error:
        waiting.faults += is_alone
        if is_last_try:
            services.spool.give_up(place, error)
        return is_last_try
    try:
        replaying = Replaying(services, account, usage, loads)
        try:
            replaying.send()
        except Exception as error:  # noqa: BLE001 - it becomes the refusal that is awaited
            replaying.failed(error)
        refusal = await replaying.refusal
        if refusal is None:
            return True
        is_fault = refusal.code is Code.INTERNAL_ERROR
        if refusal.is_passing or (is_fault and not is_last_try):
            waiting.faults += is_fault and is_alone
            return False
        return await _reject(services, account, usage, refusal)
    except Exception as error:  # noqa: BLE001 - one event's fault is logged and tried again, the others go on
        as_refusal(error, show("evt", usage.event_id).encode())
        return False


async def _reject(services: Services, account: Account, usage: SpooledUsage, refusal: Refusal) -> bool:
    """Leave the event in the stream as rejected; twice is once. False where there is no room for it. Raises Refusal."""
    occurred_at = usage.received_at if usage.occurred_at is None else usage.occurred_at
    sent = UsagePayload(
        usage.event_id,
        usage.feature_key,
        usage.units_micro,
        NO_PRICE,
        occurred_at,
        usage.idempotency_key,
        usage.properties,
    )
    payload = encode_rejection(Rejection(refusal.code.value, refusal.detail, sent))
    redis, stream = services.redis, account.stream
    if await redis.ask(b"XLEN", stream) >= services.settings.stream_max_entries:
        return False
    fields = (b"a", usage.ref, b"k", EntryKind.REJECTED.encode(), b"t", usage.received_at, b"r", 0, b"c", 0)
    await redis.ask(b"XADD", stream, b"*", *fields, b"p", payload)
    return True


class Replaying(Recording):
    """One spooled event under way; `refusal` is why it was not taken in, None once it was."""

    __slots__ = ("_loads", "refusal")

    def __init__(self, services: Services, account: Account, usage: SpooledUsage, loads: Loads) -> None:
        occurred_at = usage.received_at if usage.occurred_at is None else usage.occurred_at
        event = UsageEvent(
            account.end_user_id,
            usage.feature_key,
            usage.units_micro,
            usage.idempotency_key,
            occurred_at,
            usage.properties,
            enforce=False,
        )
        self._loads = loads
        self.refusal: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        super().__init__(services, account, event, _Verdict(self.refusal, usage.event_id), usage.event_id)
        # What was asked under the key is what the client sent.
        properties = None if usage.properties is None else usage.properties.encode()
        self._fingerprint = usage_fingerprint(usage.units_micro, usage.occurred_at, properties, enforce=False)

    def refused(self, refusal: Refusal) -> None:
        """It stays where it is, or is rejected."""
        self._recipient.refused(refusal)

    def _check_timestamp(self, now_at: int) -> None:
        """It was looked at when the event came."""

    def _joins_spool(self) -> bool:
        return False

    async def wait(self) -> None:
        """A tick is under way: the customer is put off. Raises Refusal."""
        raise not_posted_yet()

    async def load_account(self) -> None:
        """The account is not in Redis. Raises Refusal."""
        await self._loads.have(self.account.ref, super().load_account)

    async def load_plan(self, snapshot_id: bytes) -> None:
        """The worker does not have the plan snapshot. Raises Refusal."""
        await self._loads.have(snapshot_id, partial(super().load_plan, snapshot_id))


class _Verdict:
    """What became of a spooled event, for who awaits it."""

    def __init__(self, refusal: "asyncio.Future[Refusal | None]", event_id: UUID) -> None:
        self._refusal = refusal
        self._event_id = event_id

    @property
    def request_id(self) -> bytes:
        """For the log: the request is long answered."""
        return show("evt", self._event_id).encode()

    def decided(self, outcome: Outcome) -> None:
        """It was taken in, now or before."""
        del outcome
        self._settle(None)

    def refused(self, refusal: Refusal) -> None:
        """It was not."""
        self._settle(refusal)

    def spooled(self, event_id: UUID) -> NoReturn:
        """It is in the spool already."""
        raise AssertionError(event_id)

    def _settle(self, refusal: Refusal | None) -> None:
        if not self._refusal.done():
            self._refusal.set_result(refusal)
