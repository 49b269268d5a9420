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
from app.wire.snapshot import AccountState, pack_beside
from app.wire.tiers import pack_tiers
from tests.wire.gauge_models import Acquire, Look, Release
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import (
    Accept,
    EdgeAccount,
    Held,
    Holds,
    Load,
    Memory,
    NotePublished,
    Publish,
    Retry,
    SetClock,
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
                call.feature_key if call.counts else "",
                call.units_micro if call.counts else "",
                "" if call.limit is None else call.limit,
            ],
        )

    def retry(self, call: Retry) -> bytes:
        """Run retry.lua."""
        names = [
            keys.account(PARTITION, call.ref),
            keys.stream(PARTITION),
            keys.retried(PARTITION, ENVIRONMENT, call.key),
            keys.used(PARTITION, call.ref),
        ]
        head = (call.now_at, call.cost, call.ref, call.payload, call.rejected_id)
        counted = (call.units_micro, call.feature_key) if call.counts else ("", "")
        return self._run(scripts.RETRY, names, [*head, WINDOW_MILLISECONDS, call.most_entries, *counted])

    def tick(self, ref: bytes, now_at: int) -> bytes:
        """Run tick.lua."""
        return self._run(scripts.TICK, [keys.account(PARTITION, ref), keys.stream(PARTITION)], [now_at, ref])

    def set_clock(self, call: SetClock) -> bytes:
        """Run set_clock.lua."""
        account, token, _ = _account_keys(call.ref)
        arguments = [call.at, call.ref, call.new_token]
        return self._run(scripts.SET_CLOCK, [account, keys.stream(PARTITION), token], arguments)

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
        ref = call.state.ref
        held = [
            part
            for one in call.reservations
            for part in (
                *(keys.due_member(ENVIRONMENT, one.key), one.facts, one.reserved, one.due),
                *(one.counted or ("", "")),
            )
        ]
        frozen = "" if call.state.frozen_at is None else call.state.frozen_at
        arguments = [call.token, call.incarnation, *_figures(call.state), ref, frozen, *held, encode_holds(call.holds)]
        return self._run(scripts.LOAD, [*_account_keys(ref), keys.due(PARTITION)], arguments)

    def reserve(self, call: Reserve) -> list[bytes]:
        """Run reserve.lua."""
        until = "" if call.until_at == NEVER_AT else call.until_at
        tiers = "" if call.graduated is None else pack_tiers(call.graduated)
        counted = (call.feature_key, call.units_micro) if call.counts else ("", "")
        limit = "" if call.limit is None else call.limit
        tail = (WINDOW_MILLISECONDS, call.most_entries, tiers, until, *counted, limit)
        head = (call.now_at, call.snapshot, call.cost, call.lasts, call.lowest)
        arguments = [
            *head,
            call.fingerprint,
            call.ref,
            call.payload,
            *tail,
            call.facts,
            call.most_open,
            call.most_named,
        ]
        return self._run(scripts.RESERVE, _reservation_keys(call.ref, call.key), arguments)

    def end(self, call: End) -> list[bytes]:
        """Run end_reservation.lua."""
        head = (call.now_at, call.verb, call.used, call.asked, call.ref)
        tiers = "" if call.graduated is None else pack_tiers(call.graduated)
        counted = ("", "") if call.units_micro is None else (call.feature_key, call.units_micro)
        tail = (WINDOW_MILLISECONDS, call.most_entries, tiers, *counted)
        script_keys = _reservation_keys(call.ref, call.key)
        facts, reserved = self.client.hmget(script_keys[2], "facts", "reserved")
        known = (facts if call.facts is None else call.facts, reserved if call.reserved is None else call.reserved)
        arguments = [
            *head,
            call.payload,
            call.expiry,
            call.late,
            *tail,
            *(b"" if one is None else one for one in known),
        ]
        return self._run(scripts.END_RESERVATION, script_keys, arguments)

    def extend(self, call: Extend) -> list[bytes]:
        """Run extend_reservation.lua."""
        arguments = [call.now_at, call.lasts, call.ref, call.payload, call.most_entries]
        return self._run(scripts.EXTEND_RESERVATION, _reservation_keys(call.ref, call.key), arguments)

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

    def observe_reservations(self, memory: Memory, marks: Sequence[UUID]) -> tuple[Any, Any]:
        """The same of reservations; stream ids must have been matched (`observe`) since the last call."""
        pipe = self.client.pipeline(transaction=False)
        for mark in marks:
            pipe.hgetall(keys.reservation(PARTITION, ENVIRONMENT, mark))
        pipe.zrange(keys.due(PARTITION), 0, -1, withscores=True)
        *found, due = pipe.execute()
        said = [self._held(memory.reservations.get(mark)) for mark in marks]
        expected = {keys.due_member(ENVIRONMENT, mark): float(at) for mark, at in memory.due.items()}
        return (found, dict(due)), (said, expected)

    def _held(self, held: Held | None) -> dict[bytes, bytes]:
        if held is None:
            return {}
        shown = {name.encode(): _bytes(value) for name, value in vars(held).items() if value is not None}
        return shown | ({b"opened_id": self.real_id(held.opened_id)} if held.opened_id else {})

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
        if not memory.stream or memory.stream[-1][0] != memory.newest_id:
            return
        for (model_id, _), real_id in zip(reversed(memory.stream), reversed(found), strict=False):
            if model_id in self.ids:
                break
            self.ids[model_id] = real_id

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
        ids = {b"order_id": account.order_id, b"ordered_id": account.ordered_id, b"returned_id": account.returned_id}
        return shown | {name: self.real_id(value) for name, value in ids.items() if value}


def _bytes(value: bytes | str | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _reservation_keys(ref: bytes, key: UUID) -> list[bytes]:
    reservation = keys.reservation(PARTITION, ENVIRONMENT, key)
    first = [keys.account(PARTITION, ref), keys.stream(PARTITION), reservation]
    return [*first, keys.used(PARTITION, ref), keys.due(PARTITION)]


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
