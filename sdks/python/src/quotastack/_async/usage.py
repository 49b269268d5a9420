"""Usage: recorded at once, many at once, or soon. What cannot be delivered waits in the spool."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quotastack._async.parts import Parts
from quotastack._async.sending import batch_call, usage_call
from quotastack.answers import BatchItem, FlushReport, UsageRecorded
from quotastack.errors import QuotaStackError, SpoolBrokenError, SpoolFullError, UnavailableError
from quotastack.events import Event, Number, UsageEvent, batches, new_event
from quotastack.models import BatchAccepted, UsageAccepted
from quotastack.retries import Patience
from quotastack.verdicts import (
    NOT_KEPT,
    Fate,
    item,
    refused_item,
    spooled_item,
    unknown_item,
    verdicts_of,
    was_recorded,
)


class Usage(Parts):
    """The verbs."""

    async def record_usage(
        self,
        end_user_id: str,
        *,
        feature_key: str,
        units: Number = 1,
        idempotency_key: str | None = None,
        timestamp: datetime | str | None = None,
        properties: Mapping[str, Any] | None = None,
        enforce: bool = False,
    ) -> UsageRecorded:
        """Record usage. Under the same key it is recorded once, however often you call.

        With `enforce` it is refused where credit is short (InsufficientCreditsError) or a limit is reached
        (LimitReachedError), and raises where the service is away. Without it, it is kept in any case: where the service
        is away in the spool, under its key and with the time of this call; after `usage_timeout` (10 s) at the latest.
        Raises SpoolFullError where it is not, and TypeError or ValueError, at once, for what can be no event.
        """
        event = new_event(
            {
                "end_user_id": end_user_id,
                "feature_key": feature_key,
                "units": units,
                "idempotency_key": idempotency_key,
                "timestamp": timestamp,
                "properties": properties,
                "enforce": enforce,
            }
        )
        try:
            return await self._record_now(event, None if enforce else self._delivery.patience())
        except QuotaStackError as error:
            if enforce or not error.is_passing:
                raise
        await self._delivery.keep([event])
        return UsageRecorded(accepted=True, durability="local", source="fallback")

    async def _record_now(self, event: Event, patience: Patience | None = None) -> UsageRecorded:
        try:
            answered = await self._transport.ask(usage_call(event), UsageAccepted, patience)
        except QuotaStackError as error:
            if not was_recorded(error, event):
                raise
            return UsageRecorded(accepted=True, replayed=True)
        self._delivery.hear()
        taken = answered.value
        return UsageRecorded(
            accepted=taken.accepted,
            event_id=taken.event_id,
            cost=taken.cost,
            balance=taken.balance,
            overage=taken.overage,
            durability=taken.durability,
            replayed=answered.is_replayed,
        )

    async def record_usage_batch(self, events: Sequence[UsageEvent]) -> list[BatchItem]:
        """Record many events; one result each, in their order, with its idempotency key.

        One that is rejected does not keep the others out. What cannot be delivered waits in the spool as one event
        does, but for events with `enforce`: the result of one of which nobody heard is `unknown`. Raises
        QuotaStackError where the service refuses the batch itself, and SpoolFullError where it is not kept; once some
        of its events were answered or kept, no more: then the results say so of the others.
        """
        made = [new_event(event) for event in events]
        bodies = [event.body() for event in made]
        items: list[BatchItem] = []
        for part in batches(bodies):
            try:
                items += await self._record_part(made[part], bodies[part])
            except QuotaStackError as error:
                if not items:
                    raise
                items += [refused_item(event, error.code, error.detail) for event in made[part]]
            except (SpoolFullError, SpoolBrokenError) as error:
                if not items:
                    raise
                items += [unknown_item(event, NOT_KEPT, str(error)) for event in made[part]]
        return items

    async def _record_part(self, events: Sequence[Event], bodies: Sequence[bytes]) -> list[BatchItem]:
        """Raises what the whole part comes to, and nothing once one of its events was answered."""
        patience = None if any(event.enforce for event in events) else self._delivery.patience()
        try:
            results = (await self._transport.ask(batch_call(bodies), BatchAccepted, patience)).value.results
        except QuotaStackError as error:
            if not error.is_passing:
                raise
            return await self._keep_part(events, error)
        self._delivery.hear()
        verdicts = verdicts_of(events, results)
        if len(results) != len(events):
            return await self._keep_part(events, UnavailableError(verdicts[0].detail, code=verdicts[0].code))
        items = [item(event, result) for event, result in zip(events, results, strict=True)]
        for index, verdict in enumerate(verdicts):
            if verdict.fate is Fate.TIME_REFUSED:
                items[index] = await self._look_again(events[index], items[index])
        late = [index for index, v in enumerate(verdicts) if v.fate is Fate.LATER and not events[index].enforce]
        kept = await self._keep_late([events[index] for index in late], is_alone=len(late) == len(events))
        for index, each in zip(late, kept, strict=True):
            items[index] = each
        return items

    async def _keep_part(self, events: Sequence[Event], error: QuotaStackError) -> list[BatchItem]:
        """Nobody heard of any."""
        plain = [event for event in events if not event.enforce]
        kept = iter(await self._keep_late(plain, is_alone=len(plain) == len(events)))
        return [unknown_item(event, error.code, error.detail) if event.enforce else next(kept) for event in events]

    async def _keep_late(self, events: Sequence[Event], *, is_alone: bool) -> list[BatchItem]:
        """In the spool. `is_alone`: nothing else is known of their part. Raises SpoolFullError, SpoolBrokenError."""
        if not events:
            return []
        try:
            await self._delivery.keep(events)
        except (SpoolFullError, SpoolBrokenError) as error:
            if is_alone:
                raise
            return [unknown_item(event, NOT_KEPT, str(error)) for event in events]
        return [spooled_item(event) for event in events]

    async def _look_again(self, event: Event, refused: BatchItem) -> BatchItem:
        """Where the event is recorded already, with the time of an outage, it is accepted."""
        try:
            recorded = await self._record_now(event)
        except QuotaStackError:
            return refused
        return BatchItem(
            status="accepted",
            idempotency_key=event.idempotency_key,
            event_id=recorded.event_id,
            replayed=recorded.replayed,
        )

    def buffer_usage(
        self,
        end_user_id: str,
        *,
        feature_key: str,
        units: Number = 1,
        idempotency_key: str | None = None,
        timestamp: datetime | str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Record usage soon: with what else comes within `flush_interval`, in one request.

        Raises SpoolFullError where neither the buffer nor the spool has room. Until it is sent it is in the memory of
        this process only; the exit of the process sends it, or leaves it in the spool.
        """
        self._delivery.buffer(
            new_event(
                {
                    "end_user_id": end_user_id,
                    "feature_key": feature_key,
                    "units": units,
                    "idempotency_key": idempotency_key,
                    "timestamp": timestamp,
                    "properties": properties,
                }
            )
        )

    async def flush(self) -> FlushReport:
        """Send what waits, in the buffer and in the spool, as far as that goes now; `waiting` is 0 where it went."""
        return await self._delivery.flush()
