# Made from _async by scripts/make_sync.py: change it there.
"""Usage on its way: a buffer that is sent every moment, and a spool for what could not be sent."""

import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic

from quotastack import ending
from quotastack._sync.sending import Sender
from quotastack._sync.transport import Transport
from quotastack._sync.waiting import Background, Lock, in_thread
from quotastack.answers import FlushReport, RejectedEvent
from quotastack.errors import ClientClosedError, SpoolBrokenError, SpoolFullError
from quotastack.events import MAX_BATCH_EVENTS, Event
from quotastack.retries import KNOWN_AWAY, LAST_CHANCE, Patience, growing
from quotastack.settings import Settings
from quotastack.spool import Spool
from quotastack.verdicts import NOT_KEPT, Fate, Verdict, rejected

FIRST_PAUSE_SECONDS = 0.5
ADOPT_SECONDS = 15.0
GUARD_SECONDS = 1.0
"""At the exit nobody is waited for longer: it may never come."""
_log = logging.getLogger("quotastack")


class Delivery:
    """What has to arrive, and the thread in the background that sees to it."""

    def __init__(self, settings: Settings, transport: Transport, spool: Spool) -> None:
        self._settings = settings
        self._sender = Sender(transport)
        self.spool = spool
        self._begin()

    def _begin(self) -> None:
        self._buffer: deque[Event] = deque()
        self._in_hand: list[Event] = []
        """Taken from the buffer, and neither answered nor kept yet."""
        self._held_until = 0.0
        """Until then there is no room for what is in hand."""
        self._due = 0.0
        """When what is in the buffer has waited long enough."""
        self._guard = threading.Lock()
        self._turns = Lock()
        self._background = Background(self._turn)
        self._failures = 0
        self._error: Exception | None = None
        """What stood in the way of what waits, the last time."""
        self._is_away = False
        """Whether nobody answered what was sent last of what waits."""
        self._next_try = 0.0
        self._next_adoption = 0.0
        self._is_closed = False
        self._last = FlushReport()

    def forget(self) -> None:
        """In the child of a fork: what waits is the parent's, and so is who sends it."""
        self.spool.forget()
        self._begin()

    def start(self) -> None:
        """Look after what waits from now on."""
        self._background.start()

    # ---- what comes in

    def buffer(self, event: Event) -> None:
        """Send it soon. Where the buffer is full the spool takes it: raises SpoolFullError, SpoolBrokenError."""
        self._require_open()
        ending.watch(self)
        with self._guard:
            count = len(self._buffer)
            if count == 0:
                self._due = monotonic() + self._settings.flush_interval
            if count < self._settings.max_buffered:
                self._buffer.append(event)
        if count >= self._settings.max_buffered:
            self.spool.add([event])
        self.start()
        if count == 0 or count + 1 >= MAX_BATCH_EVENTS:
            self._background.wake()

    def keep(self, events: Sequence[Event]) -> None:
        """They could not be sent: they are kept once it returns. Raises SpoolFullError, SpoolBrokenError."""
        self._require_open()
        ending.watch(self)
        in_thread(self.spool.add, events)
        self._is_away = True
        self.start()
        self._background.wake()

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClientClosedError("The client is closed: it takes no more usage.")

    def patience(self) -> Patience:
        """With usage that can be kept. While other usage waits because nobody answered, one short look is enough."""
        return KNOWN_AWAY if self._is_away and len(self.spool) else self._settings.usage_patience

    def hear(self) -> None:
        """Usage was answered: what waits goes now."""
        if self._is_away:
            self._is_away, self._next_try = False, 0.0
            self._background.wake()

    # ---- what goes out

    def flush(self) -> FlushReport:
        """Send everything that waits, now."""
        with self._turns:
            self._adopt()
            self._send_all(self._settings.patience)
            return self._report()

    def _report(self) -> FlushReport:
        with self._guard:
            waiting = len(self.spool) + len(self._in_hand) + len(self._buffer)
        return FlushReport(waiting=waiting, error=self._error if waiting else None)

    def _send_all(self, patience: Patience) -> None:
        self._send_buffer(patience)
        while self._drain(patience):
            self._send_buffer(patience)

    def _turn(self) -> float | None:
        """Do what is due; the seconds until something else is."""
        try:
            with self._turns:
                self._do_what_is_due()
        except Exception:  # noqa: BLE001 - nobody else looks after what waits
            _log.exception("what waits could not be looked after; in a moment again")
            return FIRST_PAUSE_SECONDS
        return self._pause()

    def _do_what_is_due(self) -> None:
        if self.spool.is_durable and monotonic() >= self._next_adoption:
            self._adopt()
        if self._is_due(monotonic()):
            self._send_buffer(self._settings.patience)
        while monotonic() >= self._next_try and self._drain(self._settings.patience):
            pass

    def _is_due(self, now: float) -> bool:
        is_ripe = bool(self._in_hand) or now >= self._due or len(self._buffer) >= MAX_BATCH_EVENTS
        return is_ripe and now >= self._held_until

    def _pause(self) -> float | None:
        moments = [self._held_until] if self._in_hand else []
        if self._buffer:
            moments.append(max(self._due, self._held_until))
        if len(self.spool):
            moments.append(self._next_try)
        if self.spool.is_durable:
            moments.append(self._next_adoption)
        return max(0.0, min(moments) - monotonic()) if moments else None

    def _adopt(self) -> None:
        self._next_adoption = monotonic() + ADOPT_SECONDS
        try:
            in_thread(self.spool.adopt)
        except SpoolBrokenError:
            _log.exception("nobody can look whether other processes left usage")
        self._tell_unfit()

    def _tell_unfit(self) -> None:
        """What others left and is no usage event is told, as what the service refuses is."""
        for ticket, told in self.spool.unfit():
            self._tell_one(told)
            in_thread(self.spool.remove, [ticket])

    def _send_buffer(self, patience: Patience) -> None:
        """Behind what waits in the spool everything waits. What finds no room there stays in hand."""
        while events := self._take():
            if not len(self.spool):
                events = self._send(events, patience)
            if not self._spool(events):
                return
            self._hold([])

    def _send(self, events: list[Event], patience: Patience) -> list[Event]:
        """Those that were not answered."""
        verdicts = self._sender.send(events, patience, is_late=False)
        late = [event for event, verdict in zip(events, verdicts, strict=True) if verdict.fate is Fate.LATER]
        self._error = _error_of(verdicts)
        self._tell(events, verdicts)
        # Only now: whoever is cancelled before has all of them sent again, under their keys.
        self._hold(late)
        return late

    def _take(self) -> list[Event]:
        """What is in hand; where nothing is, the next of the buffer."""
        with self._guard:
            if not self._in_hand:
                self._in_hand = [self._buffer.popleft() for _ in range(min(MAX_BATCH_EVENTS, len(self._buffer)))]
            return self._in_hand

    def _hold(self, events: list[Event]) -> None:
        with self._guard:
            self._in_hand = events

    def _spool(self, events: list[Event]) -> bool:
        """Whether they are kept."""
        if not events:
            return True
        try:
            in_thread(self.spool.add, events)
        except (SpoolFullError, SpoolBrokenError) as error:
            self._held_until = monotonic() + max(self._back_off(), self._settings.flush_interval)
            self._error = error
            _log.error("%s events are neither sent nor kept, and stay in memory: %s", len(events), error)
            return False
        return True

    def _drain(self, patience: Patience) -> bool:
        """Send the oldest of the spool; whether to go on at once."""
        waiting = in_thread(self.spool.first, MAX_BATCH_EVENTS)
        if not waiting:
            return False
        events = [one.event for one in waiting]
        verdicts = self._sender.send(events, patience, is_late=True)
        self._tell(events, verdicts)
        answered = [one.ticket for one, v in zip(waiting, verdicts, strict=True) if v.fate is not Fate.LATER]
        in_thread(self.spool.remove, answered)
        self._error = _error_of(verdicts)
        if len(answered) == len(waiting):
            self._failures, self._next_try, self._is_away = 0, 0.0, False
            return True
        self._is_away = not answered
        self._failures = 0 if answered else self._failures + 1
        self._next_try = monotonic() + self._back_off()
        why = next(v for v in verdicts if v.fate is Fate.LATER)
        _log.warning("%s events wait in the spool (%s: %s)", len(self.spool), why.code, why.detail)
        return False

    def _back_off(self) -> float:
        bound = growing(self._failures, FIRST_PAUSE_SECONDS, self._settings.max_wait)
        return bound * (1 + random.random()) / 2  # noqa: S311 - no secret

    def _tell(self, events: Sequence[Event], verdicts: Sequence[Verdict]) -> None:
        """What will never be taken is kept beside the spool, and told."""
        for event, verdict in zip(events, verdicts, strict=True):
            if verdict.fate is Fate.REJECTED:
                self._tell_one(rejected(event, verdict))

    def _tell_one(self, told: RejectedEvent) -> None:
        _log.error("usage %s of %s is rejected: %s", told.idempotency_key, told.feature_key, told.code)
        try:
            in_thread(self.spool.reject, told)
            if self._settings.on_rejected is not None:
                self._settings.on_rejected(told)
        except Exception:  # noqa: BLE001 - the callback is the caller's
            _log.exception("nobody was told of rejected usage: %s", told)

    # ---- the end

    def close(self) -> FlushReport:
        """Send what waits once more, and let go of what cannot be sent: a durable spool keeps it."""
        if self._is_closed:
            return self._last
        self._is_closed = True
        self._background.stop()
        with self._turns:
            patience = LAST_CHANCE if self.spool.is_durable else self._settings.patience
            self._send_all(patience)
            self._last = self._report()
            self._give_up()
        ending.unwatch(self)
        ending.let_go(self.spool)
        return self._last

    def _give_up(self) -> None:
        """At the end there is no later for what found no room."""
        with self._guard:
            events, self._in_hand = [*self._in_hand, *self._buffer], []
            self._buffer.clear()
        self._tell(events, [Verdict(Fate.REJECTED, NOT_KEPT, "The client is closed.")] * len(events))

    def leave(self) -> list[Event]:
        """At the exit of the process: what a durable spool takes is safe; the rest, to be sent at once or lost."""
        self._is_closed = True
        # The background may have just moved some from the buffer to its hand, or be stopped in the middle of that.
        has_guard = self._guard.acquire(timeout=GUARD_SECONDS)
        try:
            events = [*self._in_hand, *self._buffer]
        finally:
            if has_guard:
                self._guard.release()
        if not self.spool.is_durable:
            return [*(one.event for one in self.spool.first(len(self.spool))), *events]
        if events:
            try:
                self.spool.add(events)
            except (SpoolFullError, SpoolBrokenError):
                _log.exception("the spool does not take what waits at the exit")
                return events
        self.spool.close()
        return []

    @property
    def settings(self) -> Settings:
        """Whose usage it is."""
        return self._settings


def _error_of(verdicts: Sequence[Verdict]) -> Exception | None:
    """Why those wait that do."""
    return next((verdict.error for verdict in verdicts if verdict.fate is Fate.LATER), None)
