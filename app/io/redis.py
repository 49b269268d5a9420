"""Redis for core, flusher and jobs: one client (of a server or a cluster), the scripts, and what core keeps there.

The client never sends a command again by itself: a script that timed out may have run. The edge has its own.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - what the client calls it
    NoScriptError,
    RedisError,
    ResponseError,
)

from app.io.cluster import ClusterClient
from app.io.redis_pool import PackingPool
from app.rules import totals
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from app.wire.events import parse_stream_id
from app.wire.gauges import Hold, encode_holds
from app.wire.held import OpenReservation, encode_facts
from app.wire.scripts import Script
from app.wire.slots import is_cluster
from app.wire.snapshot import ACCOUNT_FIELDS, AccountState, pack_beside

UNKNOWN_KEY_SECONDS = 60
"""How long edges are told that there is no such API key before they have core look again."""
KEY_RECORD_SECONDS = 86_400
"""How long edges go by what Redis holds of an API key. What was lost of a change is found out by then at the latest."""
COMMAND_TIMEOUT_SECONDS = 5.0
MAX_CONNECTIONS = 16
PUBLISH_ACCOUNTS = 200
"""Accounts of one partition that one call brings: it lets the others wait for a millisecond or two."""
AWAY = "away"
"""What becomes of a publish to a server of a cluster that is known to be away: it has not happened."""
Reply = TypeVar("Reply")
Answer = Any
"""What a command answers: the client types nothing, each method says what it is."""
RedisUnavailable = RedisError
"""What callers catch: Redis did not answer, or not as it should."""

OFFERED_SECONDS = 3_600
"""How long a plan snapshot stays that nobody has asked for yet."""


class OneAttempt(Retry):
    """A command is sent once. Where uvloop has closed the connection already, it says so as a failure of Redis."""

    def __init__(self) -> None:
        super().__init__(NoBackoff(), 0)

    async def call_with_retry(
        self, do: Callable[[], Awaitable[Reply]], fail: Callable[..., Answer], *more: Answer, **options: Answer
    ) -> Reply:
        """Call `do`. The client writes to a connection without asking whether it is still there; uvloop minds."""

        async def do_once() -> Reply:
            try:
                return await do()
            except RuntimeError as error:
                raise ConnectionError(str(error)) from error

        return await super().call_with_retry(do_once, fail, *more, **options)


class AgreementMismatch(RuntimeError):
    """The process and the data disagree on what all processes must share."""


class AccountView(msgspec.Struct, frozen=True):
    """A loaded account as Redis has it, in micro-credits and microseconds; in the order of ACCOUNT_FIELDS."""

    revision: int
    base_micro: int
    applied_micro: int
    accepted_micro: int
    last_at: int
    valid_until: int
    snapshot_id: str
    subscription_status: str
    floor_micro: int
    reserved_micro: int = 0
    """Of all open reservations; `available_micro` is without it already."""
    frozen_at: int | None = None
    """Where its test clock stands; None = it has none."""

    @property
    def pending_micro(self) -> int:
        """Cost of what was accepted and is not yet applied."""
        return totals.distance(self.accepted_micro, self.applied_micro)

    @property
    def available_micro(self) -> int:
        """What can be spent now."""
        return self.base_micro - self.pending_micro


class LoadedAccount(msgspec.Struct, frozen=True):
    """A loaded account, and whether everything that was accepted for it has been published back."""

    view: AccountView
    quiet: bool


class StreamEnd(msgspec.Struct, frozen=True):
    """Whose memory a stream is (None: nobody has named it yet), and the greatest id that it ever had."""

    incarnation: UUID | None
    last_id: tuple[int, int]


class StreamPlace(msgspec.Struct, frozen=True):
    """Where the newest entry of a partition's stream is, and how far it is published; (0, 0) = nowhere."""

    incarnation: bytes | None
    published: tuple[int, int]
    newest: tuple[int, int]

    def has_published(self, before: "StreamPlace") -> bool:
        """Whether everything is published by now that was in the stream `before`."""
        return self.incarnation == before.incarnation and self.published >= before.newest


class LoadBegun(msgspec.Struct, frozen=True):
    """A load under way: what it has to respect."""

    token: bytes
    incarnation: UUID
    stream_end: tuple[int, int]


class UsageRetry(msgspec.Struct, frozen=True):
    """A usage event to be taken in again: see app/wire/scripts/retry.lua."""

    ref: bytes
    event_id: UUID
    cost_micro: int
    payload: bytes
    rejected_id: str
    """The stream id of the entry that was rejected."""
    most_entries: int
    counted: tuple[str, int] | None = None
    """(feature, micro-units) where its units were counted."""


class RedisStore:
    """Typed access to what `wire.keys` names."""

    def __init__(self, client: Redis | ClusterClient, agreement: Agreement) -> None:
        self.client: Any = client
        self.agreement = agreement

    @classmethod
    async def connect(cls, url: str, agreement: Agreement, *, socket_timeout: float = COMMAND_TIMEOUT_SECONDS) -> Self:
        """A client whose agreement was compared. Raises AgreementMismatch or RedisUnavailable."""
        store = cls.open(url, agreement, socket_timeout=socket_timeout)
        await store.check_agreement()
        return store

    @classmethod
    def open(cls, url: str, agreement: Agreement, *, socket_timeout: float = COMMAND_TIMEOUT_SECONDS) -> Self:
        """A client that has not connected yet."""

        def make_client(url: str) -> Redis:
            pool = PackingPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped in redis-py
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=COMMAND_TIMEOUT_SECONDS,
                socket_timeout=socket_timeout,
                socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
                retry=OneAttempt(),
                retry_on_error=[],
            )
            return Redis.from_pool(pool)

        client = ClusterClient(url, make_client, follows=True) if is_cluster(url) else make_client(url)
        return cls(client, agreement)

    async def check_agreement(self) -> None:
        """The first process ever writes the agreement down; every other one must share it."""
        ours = self.agreement.fingerprint()
        await self.client.set(keys.AGREEMENT, ours, nx=True)
        theirs = await self.client.get(keys.AGREEMENT)
        if theirs != ours:
            message = f"this process is set to {ours.decode()}, the data in Redis to {theirs.decode()}"
            raise AgreementMismatch(message)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    async def ping(self) -> None:
        """Raises RedisUnavailable unless Redis answers."""
        await self.client.ping()

    # ---- scripts

    async def run(self, script: Script, script_keys: Sequence[bytes], arguments: Sequence[bytes | int | str]) -> Answer:
        """Run one script; a script that the server has lost is loaded again (it did not run)."""
        call = (len(script_keys), *script_keys, *arguments)
        try:
            return await self.client.evalsha(script.digest.decode(), *call)
        except NoScriptError:
            await self.client.script_load(script.text)
            return await self.client.evalsha(script.digest.decode(), *call)

    def is_away(self, partition: int) -> bool:
        """Whether nothing is even asked of this partition; see `io.stream`."""
        del partition
        return False

    def partition(self, ref: bytes) -> int:
        """The customer's partition."""
        return keys.partition_of(ref, self.agreement.partitions)

    async def partitions_by_server(self) -> list[list[int]]:
        """All partitions, together those that one server has, and those that none is known to have."""
        partitions = range(self.agreement.partitions)
        if isinstance(self.client, ClusterClient):
            return await self.client.split(partitions)
        return [list(partitions)]

    async def publish(
        self, states: Sequence[AccountState], cursors: Mapping[int, tuple[UUID, str]], new_token: bytes
    ) -> list[str]:
        """Publish account figures; `cursors` by partition = (incarnation, stream id) that they include, where known.

        Answers per state 'published' | 'stale' | 'absent' | AWAY.
        """
        by_partition: dict[int, list[int]] = defaultdict(list)
        for number, state in enumerate(states):
            by_partition[self.partition(state.ref)].append(number)
        away = {partition for partition in by_partition if self.is_away(partition)}
        calls = [
            (partition, numbers[start : start + PUBLISH_ACCOUNTS])
            for partition, numbers in by_partition.items()
            if partition not in away
            for start in range(0, len(numbers), PUBLISH_ACCOUNTS)
        ]
        pipe = self.client.pipeline(transaction=False)
        pipe.script_load(scripts.PUBLISH.text)  # so that no call halfway through finds it missing
        for partition, numbers in calls:
            chosen = [states[number] for number in numbers]
            _publish(pipe, partition, chosen, cursors.get(partition), new_token)
        answers = [AWAY] * len(states)
        for (_, numbers), found in zip(calls, (await pipe.execute())[1:], strict=True):
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = answer.decode()
        return answers

    async def tick(self, refs: Sequence[bytes], now_at: int) -> list[str]:
        """Leave a tick at each account whose boundary is reached: 'miss' | 'wait' | 'early', in their order."""
        pipe = self.client.pipeline(transaction=False)
        pipe.script_load(scripts.TICK.text)  # so that no call halfway through finds it missing
        for ref in refs:
            partition = self.partition(ref)
            pipe.evalsha(
                scripts.TICK.digest.decode(), 2, keys.account(partition, ref), keys.stream(partition), now_at, ref
            )
        return [answer.decode() for answer in (await pipe.execute())[1:]]

    async def set_clock(self, clocks: Sequence[tuple[bytes, int]], new_token: bytes) -> list[str]:
        """Have the test clocks of (account, moment) stand there, in their order, and leave ticks where that is due.

        'miss' | 'wait' (a tick is under way) | 'early', for each.
        """
        pipe = self.client.pipeline(transaction=False)
        pipe.script_load(scripts.SET_CLOCK.text)  # so that no call halfway through finds it missing
        for ref, at in clocks:
            partition = self.partition(ref)
            script_keys = (keys.account(partition, ref), keys.stream(partition), keys.load_token(partition, ref))
            pipe.evalsha(scripts.SET_CLOCK.digest.decode(), 3, *script_keys, at, ref, new_token)
        return [answer.decode() for answer in (await pipe.execute())[1:]]

    async def order(self, ref: bytes, now_at: int, payload: bytes) -> str:
        """Leave an order in the stream, and have the account wait for it: 'ok' | 'miss'."""
        partition = self.partition(ref)
        script_keys = [keys.account(partition, ref), keys.stream(partition)]
        return (await self.run(scripts.ORDER, script_keys, [now_at, ref, payload])).decode()

    async def retry(self, call: UsageRetry, now_at: int) -> str:
        """Append a rejected event anew, once for its rejection; remembered for the idempotency window.

        Answers 'retried' | 'again' | 'miss' | 'wait' | 'backlog' | 'range' | 'full'.
        """
        partition = self.partition(call.ref)
        environment = call.ref[: keys.ENVIRONMENT_REF_LENGTH]
        script_keys = [
            keys.account(partition, call.ref),
            keys.stream(partition),
            keys.retried(partition, environment, call.event_id),
            keys.used(partition, call.ref),
        ]
        window_milliseconds = self.agreement.idempotency_window_seconds * 1_000
        head = (now_at, call.cost_micro, call.ref, call.payload, call.rejected_id)
        feature_key, units = ("", "") if call.counted is None else call.counted
        arguments = [*head, window_milliseconds, call.most_entries, units, feature_key]
        return (await self.run(scripts.RETRY, script_keys, arguments)).decode()

    async def begin_load(self, ref: bytes, new_token: bytes) -> LoadBegun | str:
        """Begin to load an account; 'loaded' where it is there, 'unready' before the partition has an incarnation."""
        partition = self.partition(ref)
        answer = await self.run(
            scripts.LOAD_BEGIN,
            [
                keys.account(partition, ref),
                keys.load_token(partition, ref),
                keys.meta(partition),
                keys.stream(partition),
            ],
            [new_token],
        )
        if answer[0] != b"begun":
            return answer[0].decode()
        milliseconds, _, sequence = answer[3].partition(b"-")
        return LoadBegun(answer[1], UUID(hex=answer[2].decode()), (int(milliseconds), int(sequence)))

    async def finish_load(
        self,
        begun: LoadBegun,
        state: AccountState,
        reservations: Sequence[OpenReservation] = (),
        holds: Sequence[Hold] = (),
    ) -> str:
        """Install a loaded account with its open reservations and what is held of its gauges.

        Answers 'loaded' | 'present' | 'refused'.
        """
        partition, ref = self.partition(state.ref), state.ref
        script_keys = [keys.account(partition, ref), keys.load_token(partition, ref)]
        held = [part for reservation in reservations for part in _held(ref, reservation)]
        head, frozen_at = (begun.token, begun.incarnation.hex), "" if state.frozen_at is None else state.frozen_at
        answer = await self.run(
            scripts.LOAD,
            [*script_keys, keys.meta(partition), keys.due(partition)],
            [*head, *_figures(state), ref, frozen_at, *held, encode_holds(holds)],
        )
        return answer.decode()

    # ---- what core reads and keeps

    async def read_account(self, environment_id: UUID, end_user_id: str) -> AccountView | None:
        """A customer's account as the edge sees it; None where it is not loaded."""
        ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
        return view_of(await self.client.hmget(keys.account(self.partition(ref), ref), ACCOUNT_FIELDS))

    async def read_accounts_at_rest(self, customers: Sequence[tuple[UUID, str]]) -> list[LoadedAccount | None]:
        """Each (environment, end user id)'s account beside how far its partition was published, all at one moment.

        None where it is not loaded; some hundreds at most.
        """
        pipe = self.client.pipeline(transaction=True)
        for environment_id, end_user_id in customers:
            ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
            partition = self.partition(ref)
            pipe.hmget(keys.account(partition, ref), ACCOUNT_FIELDS)
            pipe.hget(keys.account(partition, ref), "last_id")
            pipe.hget(keys.meta(partition), "published")
        answers = iter(await pipe.execute())
        found: list[LoadedAccount | None] = []
        for values, last_id, published in zip(answers, answers, answers, strict=True):
            view = view_of(values)
            quiet = view is not None and parse_stream_id(last_id) <= parse_stream_id(published or b"0-0")
            found.append(None if view is None else LoadedAccount(view, quiet))
        return found

    async def read_stream_end(self, partition: int) -> StreamEnd:
        """Whose memory the partition's stream is, and where it ends, at one moment."""
        pipe = self.client.pipeline(transaction=True)
        pipe.hget(keys.meta(partition), "incarnation")
        pipe.xinfo_stream(keys.stream(partition))
        incarnation, stream = await pipe.execute(raise_on_error=False)
        if isinstance(stream, ResponseError):  # there is no stream yet
            stream = {"last-generated-id": b"0-0"}
        for answer in (incarnation, stream):
            if isinstance(answer, Exception):
                raise answer
        last_id = parse_stream_id(stream["last-generated-id"])
        return StreamEnd(None if incarnation is None else UUID(hex=incarnation.decode()), last_id)

    async def read_stream_places(self) -> list[StreamPlace]:
        """Of every partition, how far it is published and where it ends."""
        pipe = self.client.pipeline(transaction=False)
        for partition in range(self.agreement.partitions):
            pipe.hmget(keys.meta(partition), "incarnation", "published")
            pipe.xrevrange(keys.stream(partition), count=1)
        answers = iter(await pipe.execute())
        return [
            StreamPlace(
                incarnation, parse_stream_id(published or b"0-0"), parse_stream_id(newest[0][0] if newest else b"0-0")
            )
            for (incarnation, published), newest in zip(answers, answers, strict=True)
        ]

    async def read_seen(self, environment_id: UUID, event_id: UUID) -> bytes | None:
        """What is remembered of an event of the environment: length byte, fingerprint, outcome; None = nothing.

        An id does not tell its customer, so every partition is asked, in one write.
        """
        environment = keys.environment_ref(environment_id)
        pipe = self.client.pipeline(transaction=False)
        for partition in range(self.agreement.partitions):
            pipe.get(keys.seen(partition, environment, event_id))
        return next((stored for stored in await pipe.execute() if stored), None)

    async def put_api_key(self, digest: bytes, record: bytes | None, *, replaces: bool) -> None:
        """Tell the edges of an API key; None = there is none. What they are told already stays unless it `replaces`."""
        content, seconds = (keys.UNKNOWN_KEY, UNKNOWN_KEY_SECONDS) if record is None else (record, KEY_RECORD_SECONDS)
        await self.client.set(keys.api_key(digest), content, ex=seconds, nx=not replaces)

    async def put_plan(self, snapshot_id: str, content: bytes) -> None:
        """Give the edges a plan snapshot; it never changes."""
        await self.client.set(keys.plan(snapshot_id), content)

    async def offer_plans(self, contents: Mapping[str, bytes]) -> None:
        """Give the edges snapshots that they may soon ask for, so that they need not ask core; for a while."""
        for snapshot_id, content in contents.items():
            await self.client.set(keys.plan(snapshot_id), content, ex=OFFERED_SECONDS, nx=True)


def view_of(values: list[bytes | None]) -> AccountView | None:
    """An account from its ACCOUNT_FIELDS; None where it is not loaded."""
    if values[0] is None:
        return None
    fields = zip(AccountView.__struct_fields__, values, strict=True)
    named = {name: value.decode() for name, value in fields if value is not None}
    return msgspec.convert(named, AccountView, strict=False)


def _publish(
    pipe: Any,  # noqa: ANN401 - redis-py types little
    partition: int,
    states: Sequence[AccountState],
    cursor: tuple[UUID, str] | None,
    new_token: bytes,
) -> None:
    """Queue the call for accounts of one partition."""
    names = [name(partition, state.ref) for state in states for name in (keys.account, keys.load_token)]
    incarnation, last_id = ("", "") if cursor is None else (cursor[0].hex, cursor[1])
    figures = [figure for state in states for figure in _figures(state)]
    pipe.evalsha(
        scripts.PUBLISH.digest.decode(),
        len(names) + 1,
        *(keys.meta(partition), *names),
        *(incarnation, last_id, new_token, *figures),
    )


def _figures(state: AccountState) -> tuple[int | str | bytes, ...]:
    return (
        state.revision,
        state.base_micro,
        totals.wrap(state.applied_micro),
        state.valid_until,
        state.snapshot_id,
        state.subscription_status,
        state.floor_micro,
        state.posted_at,
        pack_beside(state.beside),
    )


def _held(ref: bytes, reservation: OpenReservation) -> tuple[bytes | int | str, ...]:
    """What load.lua is given of an open reservation."""
    member = keys.due_member(ref[: keys.ENVIRONMENT_REF_LENGTH], reservation.reservation_id)
    facts, period_at = reservation.facts, reservation.period_at
    counted = ("", "") if period_at is None else (facts.units_micro, period_at)
    return member, encode_facts(facts), reservation.reserved_micro, reservation.due_at, *counted
