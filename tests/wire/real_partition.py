"""The scripts on a real server, called with the structs of `script_models`, and everything that they left there."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.rules import totals
from app.rules.moments import NEVER_AT
from app.wire import keys, scripts
from app.wire.events import parse_stream_id, show_stream_id
from app.wire.gauges import encode_holds
from app.wire.scripts import Script
from app.wire.snapshot import AccountState
from app.wire.tiers import pack_tiers
from tests.wire.script_models import (
    Accept,
    Acquire,
    EdgeAccount,
    Holds,
    Load,
    Look,
    Memory,
    NotePublished,
    Publish,
    Release,
    Retry,
    StreamId,
)

if TYPE_CHECKING:
    from redis import Redis

PARTITION = 0
ENVIRONMENT = b"e" * 22
WINDOW_MILLISECONDS = 86_400_000
TEXT_FIELDS = {"snapshot", "status"}


class RealPartition:
    """One partition of an emptied server."""

    def __init__(self, client: "Redis") -> None:
        self.client: Any = client
        self.ids: dict[StreamId, bytes] = {(0, 0): b"0-0"}
        """The model's stream ids and the server's, matched by their order."""
        client.flushall()
        for script in scripts.ALL:
            client.script_load(script.text)

    def accept(self, call: Accept) -> list[bytes]:
        """Run accept.lua."""
        graduated = call.graduated
        return self._run(
            scripts.ACCEPT,
            [
                keys.account(PARTITION, call.ref),
                keys.stream(PARTITION),
                keys.seen(PARTITION, ENVIRONMENT, call.key),
                keys.used(PARTITION, call.ref),
            ],
            [
                call.now_at,
                call.snapshot,
                call.cost,
                "1" if call.enforce else "0",
                call.lowest,
                call.fingerprint,
                call.ref,
                call.payload,
                WINDOW_MILLISECONDS,
                call.most_entries,
                "" if graduated is None else pack_tiers(graduated),
                "" if call.until_at == NEVER_AT else call.until_at,
                "" if graduated is None else call.feature_key,
                "" if graduated is None else call.units_micro,
            ],
        )

    def retry(self, call: Retry) -> bytes:
        """Run retry.lua."""
        names = [
            keys.account(PARTITION, call.ref),
            keys.stream(PARTITION),
            keys.retried(PARTITION, ENVIRONMENT, call.key),
        ]
        head = (call.now_at, call.cost, call.ref, call.payload, call.rejected_id)
        return self._run(scripts.RETRY, names, [*head, WINDOW_MILLISECONDS, call.most_entries])

    def tick(self, ref: bytes, now_at: int) -> bytes:
        """Run tick.lua."""
        return self._run(scripts.TICK, [keys.account(PARTITION, ref), keys.stream(PARTITION)], [now_at, ref])

    def order(self, ref: bytes, now_at: int, payload: bytes) -> bytes:
        """Run order.lua."""
        script_keys = [keys.account(PARTITION, ref), keys.stream(PARTITION)]
        return self._run(scripts.ORDER, script_keys, [now_at, ref, payload])

    def publish(self, call: Publish) -> bytes:
        """Run publish.lua."""
        account, token, meta = _account_keys(call.state.ref)
        arguments = [call.incarnation, self.real_id(call.cursor), call.new_token, *_figures(call.state)]
        return self._run(scripts.PUBLISH, [meta, account, token], arguments)[0]

    def load_begin(self, ref: bytes, new_token: bytes) -> list[bytes]:
        """Run load_begin.lua."""
        return self._run(scripts.LOAD_BEGIN, [*_account_keys(ref), keys.stream(PARTITION)], [new_token])

    def load(self, call: Load) -> bytes:
        """Run load.lua."""
        arguments = [call.token, call.incarnation, *_figures(call.state), encode_holds(call.holds)]
        return self._run(scripts.LOAD, _account_keys(call.state.ref), arguments)

    def acquire(self, call: Acquire) -> list[bytes | int]:
        """Run acquire.lua."""
        head = (call.now_at, call.snapshot, call.ref, call.feature, call.holder, call.units, call.for_at)
        cap = "" if call.cap is None else call.cap
        bounds = (call.most_entries, call.most_holders)
        return self._run(scripts.ACQUIRE, _gauge_keys(call.ref), [*head, cap, call.payload, *bounds])

    def release(self, call: Release) -> list[bytes | int]:
        """Run release.lua."""
        head = (call.now_at, call.snapshot, call.ref, call.feature, call.holder)
        return self._run(scripts.RELEASE, _gauge_keys(call.ref), [*head, call.payload, call.most_entries])

    def look(self, call: Look) -> list[list[bytes | None]]:
        """Run look.lua."""
        account, _, gauge, due = _gauge_keys(call.ref)
        return self._run(scripts.LOOK, [account, gauge, due], [call.now_at, 2, "revision", "snapshot", *call.features])

    def note_published(self, call: NotePublished) -> int:
        """Run note_published.lua."""
        arguments = [call.incarnation, self.real_id(call.cursor), self.real_id(call.oldest_kept), call.most_kept]
        return self._run(scripts.NOTE_PUBLISHED, [keys.meta(PARTITION), keys.stream(PARTITION)], arguments)

    def _run(  # noqa: ANN202 - each script answers in its own form
        self, script: Script, script_keys: Sequence[bytes], arguments: Sequence[bytes | int | str]
    ):
        return self.client.evalsha(script.digest.decode(), len(script_keys), *script_keys, *arguments)

    def real_id(self, model_id: StreamId) -> bytes:
        """The server's id of a model's; one that was never appended stays as it is."""
        return self.ids.get(model_id, show_stream_id(model_id).encode())

    def observe(self, memory: Memory, refs: Sequence[bytes], marks: Sequence[UUID]) -> tuple[Any, Any]:
        """(what the server holds, what the model says that it should hold), stream ids as the server's."""
        pipe = self.client.pipeline(transaction=False)
        for ref in refs:
            pipe.hgetall(keys.account(PARTITION, ref))
            pipe.get(keys.load_token(PARTITION, ref))
            pipe.hgetall(keys.used(PARTITION, ref))
            pipe.hgetall(keys.gauge(PARTITION, ref))
            pipe.zrange(keys.gauge_due(PARTITION, ref), 0, -1, withscores=True)
        for mark in marks:
            pipe.get(keys.seen(PARTITION, ENVIRONMENT, mark))
            pipe.get(keys.retried(PARTITION, ENVIRONMENT, mark))
        pipe.hgetall(keys.meta(PARTITION))
        pipe.xrange(keys.stream(PARTITION))
        *found, stream = pipe.execute()
        self._match_ids(memory, [entry[0] for entry in stream])
        known = (
            (
                *(self._hash(memory.accounts.get(ref)), memory.tokens.get(ref), _counters(memory.used.get(ref, {}))),
                *_gauge(memory.gauges.get(ref, {})),
            )
            for ref in refs
        )
        remembered = ((memory.seen.get(mark), memory.retried.get(mark)) for mark in marks)
        said = [*itertools.chain(*known, *remembered), self._meta(memory)]
        return (found, stream), (said, [(self.real_id(model_id), fields) for model_id, fields in memory.stream])

    def _match_ids(self, memory: Memory, found: list[bytes]) -> None:
        if memory.stream and memory.stream[-1][0] == memory.newest_id and found:
            self.ids.setdefault(memory.newest_id, found[-1])

    def _meta(self, memory: Memory) -> dict[bytes, bytes]:
        shown = {name.encode(): value.encode() for name, value in memory.meta.items()}
        if published := memory.meta.get("published"):
            shown[b"published"] = self.real_id(parse_stream_id(published.encode()))
        return shown

    def _hash(self, account: EdgeAccount | None) -> dict[bytes, bytes]:
        if account is None:
            return {}
        shown = {name.encode(): str(value).encode() for name, value in vars(account).items() if value is not None}
        shown |= {b"last_id": self.real_id(account.last_id)}
        return shown | ({b"order_id": self.real_id(account.order_id)} if account.order_id else {})


def _gauge(holds: Holds) -> tuple[dict[bytes, bytes], list[tuple[bytes, float]]]:
    """(the hash of what is held, the holders whose time ends)."""
    shown: dict[bytes, int] = {}
    for (feature, holder), (units, _) in holds.items():
        shown[f"{feature}\0{holder}".encode()] = units
        for name, more in ((feature.encode(), units), (feature.encode() + b"\0", 1)):
            shown[name] = shown.get(name, 0) + more
    ends = [(float(end), f"{feature}\0{holder}".encode()) for (feature, holder), (_, end) in holds.items() if end]
    return {name: b"%d" % number for name, number in shown.items()}, [(name, end) for end, name in sorted(ends)]


def _gauge_keys(ref: bytes) -> list[bytes]:
    account = keys.account(PARTITION, ref)
    return [account, keys.stream(PARTITION), keys.gauge(PARTITION, ref), keys.gauge_due(PARTITION, ref)]


def _counters(used: dict[str, int]) -> dict[bytes, bytes]:
    return {feature_key.encode(): b"%d" % units_micro for feature_key, units_micro in used.items()}


def _account_keys(ref: bytes) -> list[bytes]:
    return [keys.account(PARTITION, ref), keys.load_token(PARTITION, ref), keys.meta(PARTITION)]


def _figures(state: AccountState) -> tuple[int | str, ...]:
    return (
        state.revision,
        state.base_micro,
        totals.wrap(state.applied_micro),
        state.valid_until,
        state.snapshot_id,
        state.subscription_status,
        state.floor_micro,
        state.posted_at,
    )
