"""Usage: recorded at once, many at once, or soon. What cannot be delivered waits in the spool."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quotastack._async.parts import Parts
from quotastack._async.sending import batch_call, usage_call
from quotastack.answers import BatchItem, UsageRecorded
from quotastack.errors import QuotaStackError
from quotastack.events import Event, Number, UsageEvent, batches, new_event
from quotastack.models import BatchAccepted, UsageAccepted
from quotastack.verdicts import SPOOLED_ITEM, Fate, item, undelivered_item, verdicts_of, was_recorded


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
        is away in the spool, under its key and with the time of this call. Raises SpoolFullError where it is not.
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
            return await self._record_now(event)
        except QuotaStackError as error:
            if enforce or not error.is_passing:
                raise
        await self._delivery.keep([event])
        return UsageRecorded(accepted=True, durability="local", source="fallback")

    async def _record_now(self, event: Event) -> UsageRecorded:
        try:
            answered = await self._transport.ask(usage_call(event), UsageAccepted)
        except QuotaStackError as error:
            if not was_recorded(error, event):
                raise
            return UsageRecorded(accepted=True, replayed=True)
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
        """Record many events; one result each, in their order.

        One that is rejected does not keep the others out. What cannot be delivered waits in the spool as one event
        does, but for events with `enforce`: their result is `rejected`. Raises QuotaStackError where the service
        refuses the batch itself.
        """
        made = [new_event(event) for event in events]
        bodies = [event.body() for event in made]
        items: list[BatchItem] = []
        for part in batches(bodies):
            items += await self._record_part(made[part], bodies[part])
        return items

    async def _record_part(self, events: Sequence[Event], bodies: Sequence[bytes]) -> list[BatchItem]:
        try:
            results = (await self._transport.ask(batch_call(bodies), BatchAccepted)).value.results
        except QuotaStackError as error:
            if not error.is_passing:
                raise
            items = [undelivered_item(error.code, error.detail)] * len(events)
            fates = [Fate.LATER] * len(events)
        else:
            items = [item(result) for result in results]
            fates = [verdict.fate for verdict in verdicts_of(events, results)]
            for index, fate in enumerate(fates):
                if fate is Fate.TIME_REFUSED:
                    items[index] = await self._look_again(events[index], items[index])
        late = [index for index, fate in enumerate(fates) if fate is Fate.LATER and not events[index].enforce]
        if late:
            await self._delivery.keep([events[index] for index in late])
        for index in late:
            items[index] = SPOOLED_ITEM
        return items

    async def _look_again(self, event: Event, refused: BatchItem) -> BatchItem:
        """Where the event is recorded already, with the time of an outage, it is accepted."""
        try:
            recorded = await self._record_now(event)
        except QuotaStackError:
            return refused
        return BatchItem(status="accepted", event_id=recorded.event_id, replayed=recorded.replayed)

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

    async def flush(self) -> int:
        """Send what waits, in the buffer and in the spool; how many events still wait, because they cannot be sent."""
        return await self._delivery.flush()
