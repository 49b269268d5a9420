# Made from _async by scripts/make_sync.py: change it there.
"""Credit that is set aside before the work, and charged after it."""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from quotastack import calls
from quotastack._sync.parts import Parts
from quotastack._sync.transport import Transport
from quotastack._sync.waiting import opened, to_the_end
from quotastack.errors import QuotaStackError
from quotastack.events import Number, new_key, require_number
from quotastack.models import Reservation as ReservationShown
from quotastack.models import ReservationEnded, ReservationExtended, ReservationOpened

_PATH = "/v1/reservations/{}"
_log = logging.getLogger("quotastack")


class Reservation:
    """An open reservation. In a `with` block set `used` as you learn it: whatever ends the block, that is committed.

    Where nothing was said to be used, it is released.
    """

    def __init__(self, transport: Transport, opening: ReservationOpened, *, in_credits: bool) -> None:
        self._transport = transport
        self._in_credits = in_credits
        self._path = calls.path(_PATH, opening.reservation_id)
        self.reservation_id = opening.reservation_id
        self.reserved = opening.reserved
        self.balance = opening.balance
        """What can be spent besides."""
        self.expires_at = opening.expires_at
        self.used: Number | None = None
        """In units, or in credits where credits were reserved."""
        self.ended: ReservationEnded | None = None
        self._unheard: calls.Call | None = None
        """A commit of which nobody knows whether it arrived."""

    def __repr__(self) -> str:
        state = "open" if self.ended is None else self.ended.state
        return f"{type(self).__name__}({self.reservation_id!r}, {state}, reserved={self.reserved}, used={self.used})"

    def commit(self, *, units: Number | None = None, credits: Number | None = None) -> ReservationEnded:  # noqa: A002
        """Charge what was really used, 0 and more than was reserved included; without an amount, all of it.

        Where nobody answers it raises, and the end of the block repeats it, under its key.
        """
        for name, amount in (("units", units), ("credits", credits)):
            if amount is not None:
                require_number(name, amount)
        call = calls.post(f"{self._path}/commit", new_key(), is_hot=True, units=units, credits=credits)
        self._unheard = call
        return self._commit(call)

    def _commit(self, call: calls.Call) -> ReservationEnded:
        try:
            return self._end(call)
        except QuotaStackError as error:
            if not error.is_passing:
                self._unheard = None
            raise

    def release(self) -> ReservationEnded:
        """Give all of it back."""
        return self._end(calls.Call("POST", f"{self._path}/release", key=new_key(), is_hot=True))

    def extend(self, *, ttl_seconds: int) -> ReservationExtended:
        """Have it fall due so long from now."""
        call = calls.post(f"{self._path}/extend", new_key(), is_hot=True, ttl_seconds=ttl_seconds)
        extended = (self._transport.ask(call, ReservationExtended)).value
        self.expires_at = extended.expires_at
        return extended

    def show(self) -> ReservationShown:
        """All that is known of it."""
        return (self._transport.ask(calls.get(self._path, is_hot=True), ReservationShown)).value

    def _end(self, call: calls.Call) -> ReservationEnded:
        self.ended = (self._transport.ask(call, ReservationEnded)).value
        return self.ended

    def _settle(self) -> ReservationEnded:
        if self._unheard is not None:
            return self._commit(self._unheard)
        if self.used is None:
            return self.release()
        if self._in_credits:
            return self.commit(credits=self.used)
        return self.commit(units=self.used)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.ended is not None:
            return
        try:
            to_the_end(self._settle())
        except QuotaStackError as failure:
            if error is None:
                raise
            # What ended the block is what its caller has to hear of.
            error.add_note(f"Reservation {self.reservation_id}, {self.used} used, was not ended: {failure}")
            _log.exception("reservation %s, %s used, was not ended", self.reservation_id, self.used)


class Reservations(Parts):
    """The verbs."""

    def reserve(
        self,
        end_user_id: str,
        *,
        feature_key: str,
        units: Number | None = None,
        credits: Number | None = None,  # noqa: A002 - the API's own word
        ttl_seconds: int | None = None,
        idempotency_key: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> Reservation:
        """Set credit aside for `units` of the feature, or for `credits`; for `ttl_seconds`, or 10 minutes.

        Use it as a context manager, or end it yourself. Raises InsufficientCreditsError, LimitReachedError or
        NotEntitledError where the customer may not.
        """
        call = calls.post(
            "/v1/reservations",
            None,
            is_hot=True,
            end_user_id=end_user_id,
            feature_key=feature_key,
            units=units,
            credits=credits,
            ttl_seconds=ttl_seconds,
            idempotency_key=idempotency_key or new_key(),
            properties=properties,
        )
        return opened(self._open(call, in_credits=credits is not None))

    def _open(self, call: calls.Call, *, in_credits: bool) -> Reservation:
        answered = self._transport.ask(call, ReservationOpened)
        return Reservation(self._transport, answered.value, in_credits=in_credits)
