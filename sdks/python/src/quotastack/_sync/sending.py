# Made from _async by scripts/make_sync.py: change it there.
"""Sends usage events in batches and says what became of each; it never fails."""

from collections.abc import Sequence
from datetime import UTC, datetime

from quotastack._sync.transport import Transport
from quotastack.calls import Call
from quotastack.errors import QuotaStackError
from quotastack.events import Event, batch_body, batches, is_young
from quotastack.models import BatchAccepted, UsageAccepted
from quotastack.retries import Patience
from quotastack.verdicts import (
    WHOLE_REFUSED,
    Fate,
    Verdict,
    verdict_of_failure,
    verdicts_of,
    was_recorded,
)


def usage_call(event: Event) -> Call:
    """One event, as it was when it happened."""
    return Call("POST", "/v1/usage", event.body(), is_hot=True)


def batch_call(bodies: Sequence[bytes]) -> Call:
    """Many events."""
    return Call("POST", "/v1/usage/batch", batch_body(bodies), is_hot=True)


class Sender:
    """Sends what waited. `is_late`: events say when they happened, since that is a while ago."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, events: Sequence[Event], patience: Patience, *, is_late: bool) -> list[Verdict]:
        """One verdict for each event. After a batch that did not arrive the others are left for later."""
        bodies = [event.body(is_late=is_late) for event in events]
        verdicts: list[Verdict] = []
        for part in batches(bodies):
            verdicts += self._send_part(events[part], bodies[part], patience)
            if verdicts[-1].fate is Fate.LATER:
                break
        return verdicts + [Verdict(Fate.LATER)] * (len(events) - len(verdicts))

    def _send_part(self, events: Sequence[Event], bodies: Sequence[bytes], patience: Patience) -> list[Verdict]:
        try:
            answered = self._transport.ask(batch_call(bodies), BatchAccepted, patience)
        except QuotaStackError as error:
            if error.status not in WHOLE_REFUSED or len(events) == 1:
                return [verdict_of_failure(error)] * len(events)
            return self._send_halves(events, bodies, patience)
        verdicts = verdicts_of(events, answered.value.results)
        for index, verdict in enumerate(verdicts):
            if verdict.fate is Fate.TIME_REFUSED:
                verdicts[index] = self._send_untimed(events[index], verdict, patience)
        return verdicts

    def _send_halves(self, events: Sequence[Event], bodies: Sequence[bytes], patience: Patience) -> list[Verdict]:
        """One event made the service refuse all of them; it is found by halves."""
        middle = len(events) // 2
        verdicts = self._send_part(events[:middle], bodies[:middle], patience)
        return verdicts + self._send_part(events[middle:], bodies[middle:], patience)

    def _send_untimed(self, event: Event, refused: Verdict, patience: Patience) -> Verdict:
        """Without the time that we noted. What is under its key already, with another time, is this event.

        One that is old may have been recorded so long ago that nobody knows its key: it would be charged twice.
        """
        if not is_young(event, datetime.now(UTC)):
            return refused._replace(fate=Fate.REJECTED)
        try:
            self._transport.ask(usage_call(event), UsageAccepted, patience)
        except QuotaStackError as error:
            return Verdict(Fate.TAKEN) if was_recorded(error, event) else verdict_of_failure(error)
        return Verdict(Fate.TAKEN)
