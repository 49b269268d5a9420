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
from quotastack.errors import SpoolBrokenError, SpoolFullError
from quotastack.events import MAX_BATCH_EVENTS, Event
from quotastack.retries import LAST_CHANCE, Patience, growing
from quotastack.settings import MAX_BUFFERED_EVENTS, Settings
from quotastack.spool import Spool
from quotastack.verdicts import Fate, Verdict, rejected

FIRST_PAUSE_SECONDS = 0.5
ADOPT_SECONDS = 15.0
NOT_KEPT = "not_kept"
"""Of an event that could neither be sent nor kept."""
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
        """Taken from the buffer, and not answered yet."""
        self._due = 0.0
        """When what is in the buffer has waited long enough."""
        self._guard = threading.Lock()
        self._turns = Lock()
        self._background = Background(self._turn)
        self._failures = 0
        self._next_try = 0.0
        self._next_adoption = 0.0
        self._is_closed = False

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
            if count < MAX_BUFFERED_EVENTS:
                self._buffer.append(event)
        if count >= MAX_BUFFERED_EVENTS:
            self.spool.add([event])
        self.start()
        if count == 0 or count + 1 >= MAX_BATCH_EVENTS:
            self._background.wake()

    def keep(self, events: Sequence[Event]) -> None:
        """They could not be sent: they are kept once it returns. Raises SpoolFullError, SpoolBrokenError."""
        self._require_open()
        ending.watch(self)
        in_thread(self.spool.add, events)
        self.start()
        self._background.wake()

    def _require_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("The client is closed.")

    # ---- what goes out

    def flush(self) -> int:
        """Send everything that waits, now; how many events wait still."""
        with self._turns:
            self._adopt()
            self._send_buffer(self._settings.patience)
            while self._drain(self._settings.patience):
                pass
            return len(self.spool)

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
        if monotonic() >= self._due or len(self._buffer) >= MAX_BATCH_EVENTS:
            self._send_buffer(self._settings.patience)
        while monotonic() >= self._next_try and self._drain(self._settings.patience):
            pass

    def _pause(self) -> float | None:
        moments = [self._due] if self._buffer else []
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

    def _send_buffer(self, patience: Patience) -> None:
        """Behind what waits in the spool everything waits."""
        while events := self._take():
            if len(self.spool):
                self._spool(events)
                continue
            verdicts = self._sender.send(events, patience, is_late=False)
            self._tell(events, verdicts)
            self._spool([event for event, v in zip(events, verdicts, strict=True) if v.fate is Fate.LATER])

    def _take(self) -> list[Event]:
        with self._guard:
            self._in_hand = [self._buffer.popleft() for _ in range(min(MAX_BATCH_EVENTS, len(self._buffer)))]
            return self._in_hand

    def _spool(self, events: list[Event]) -> None:
        if not events:
            return
        try:
            in_thread(self.spool.add, events)
        except (SpoolFullError, SpoolBrokenError) as error:
            self._tell(events, [Verdict(Fate.REJECTED, NOT_KEPT, str(error))] * len(events))

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
        if len(answered) == len(waiting):
            self._failures, self._next_try = 0, 0.0
            return True
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
            if verdict.fate is not Fate.REJECTED:
                continue
            told = rejected(event, verdict)
            _log.error("usage %s of %s is rejected: %s", told.idempotency_key, told.feature_key, told.code)
            try:
                in_thread(self.spool.reject, told)
                if self._settings.on_rejected is not None:
                    self._settings.on_rejected(told)
            except Exception:  # noqa: BLE001 - the callback is the caller's
                _log.exception("nobody was told of rejected usage: %s", told)

    # ---- the end

    def close(self) -> None:
        """Send what waits once more, and let go of what cannot be sent: a durable spool keeps it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._background.stop()
        with self._turns:
            patience = LAST_CHANCE if self.spool.is_durable else self._settings.patience
            self._send_buffer(patience)
            while self._drain(patience):
                pass
        ending.unwatch(self)
        ending.let_go(self.spool)

    def leave(self) -> list[Event]:
        """At the exit of the process: what a durable spool takes is safe; the rest, to be sent at once or lost."""
        self._is_closed = True
        events = [*self._in_hand, *self._buffer]
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
