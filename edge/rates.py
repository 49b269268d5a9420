"""Rate limits: a worker draws permits from Redis in slices, so that the usual request costs one subtraction.

A slice is as large as what the key has used of the window in this worker, and at most a fiftieth of what is left: so a
worker that nobody asks holds next to nothing, and all workers together never let more through than there is. The next
slice is asked for when half of one is used. Where Redis cannot be asked requests go on, uncounted.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from logging import getLogger

from app.wire import scripts
from app.wire.codes import Code
from app.wire.rates import (
    AHEAD_SHARE,
    POLICY_FIELD,
    STANDING,
    STANDING_FIELD,
    Admission,
    Allowances,
    Ask,
    Asker,
    script_arguments,
    script_keys,
    why_refused,
)
from edge import metrics
from edge.exchange import Exchange
from edge.redis import Redis
from edge.redis_link import Reply, pack
from edge.refusals import Refusal

log = getLogger(__name__)

MAX_METERS = 10_000
SHOWN_PARTS = 1000
"""What is left is told anew after so small a part of the limit, and after each second."""
NANOSECONDS = 1_000_000_000
_NEVER = -1
_UNCOUNTED = metrics.counter(
    "quotastack_edge_uncounted_requests_total", "Requests that no rate limit held, since Redis could not be asked"
)
_UNCOUNTED_ROW = _UNCOUNTED.row()
_LINES = b"%b%b: %b\r\n" % (b"%b", STANDING_FIELD, STANDING)
Clock = Callable[[], int]
"""Nanoseconds since the epoch: what the machine says, without a division on every request."""


class Rates:
    """The meters of the API keys that were used last."""

    def __init__(self, redis: Redis, allowances: Allowances, partitions: int, clock: Clock = time.time_ns) -> None:
        self.redis = redis
        self.allowances = allowances
        self.partitions = partitions
        self.clock = clock
        self._meters: OrderedDict[Asker, Meter] = OrderedDict()

    def meter(self, asker: Asker) -> "Meter":
        """The meter of a key, met before or not."""
        meter = self._meters.get(asker)
        if meter is None:
            if len(self._meters) >= MAX_METERS:
                self._meters.popitem(last=False)  # what it holds of the window is lost to the key
            meter = self._meters[asker] = Meter(self, asker)
        return meter


class Meter:
    """What this worker may let through for one key in the window that runs."""

    __slots__ = (
        *("_asked", "_asker", "_begins_ns", "_clock", "_ends_ns", "_key_left", "_limits", "_lines", "_low", "_mark"),
        *("_permits", "_policy_line", "_rates", "_renew_ns", "_step", "_taken", "_tenant_left", "_waiting", "_window"),
    )

    def __init__(self, rates: Rates, asker: Asker) -> None:
        self._rates = rates
        self._clock = rates.clock
        self._asker = asker
        self._limits = limits = rates.allowances.of(asker.environment)
        self._policy_line = b"%b: %b\r\n" % (POLICY_FIELD, limits.policy())
        self._step = max(1, min(limits.key_requests, limits.tenant_requests) // SHOWN_PARTS)
        """Requests after which what is left is told anew."""
        self._waiting: deque[tuple[Exchange, Callable[[], None]]] = deque()
        """Requests for which there is no permit, and what is to be done once there is."""
        self._asked: Ask | None = None
        """What Redis is being asked: one thing at a time."""
        self._lines = b""
        """What answers say of the limits, until the second or the mark is over."""
        self._turn(self._clock())

    def _turn(self, now_ns: int) -> None:
        """Another window begins: what is held of the former is worth nothing."""
        limits = self._limits
        self._window = limits.window_at(now_ns // 1000)
        self._begins_ns = self._window * NANOSECONDS
        self._ends_ns = self._begins_ns + limits.window_seconds * NANOSECONDS
        self._permits = self._taken = self._mark = 0
        self._low = _NEVER
        self._key_left, self._tenant_left = limits.key_requests, limits.tenant_requests
        self._renew_ns = self._begins_ns

    # ---- requests

    def enter(self, exchange: Exchange) -> bool:
        """Whether a request may go on at once. Its answer then says what is left, whatever it is."""
        now_ns = self._clock()
        if not self._begins_ns <= now_ns < self._renew_ns:  # a clock may be set back, too
            self._renew(now_ns)
        if not self._permits:
            return False
        self._permits -= 1
        if self._permits <= self._mark:
            self._pass_mark(now_ns)
        exchange.rate_lines = self._lines
        return True

    def _renew(self, now_ns: int) -> None:
        """Another second."""
        if not self._begins_ns <= now_ns < self._ends_ns:
            self._turn(now_ns)
        self._renew_ns = now_ns - (now_ns - self._begins_ns) % NANOSECONDS + NANOSECONDS
        self._mark = self._permits

    def _pass_mark(self, now_ns: int) -> None:
        """Tell anew what is left, and ask for the next slice where half of one is used."""
        self._lines = self._tell(now_ns)
        if self._permits <= self._low and self._asked is None:
            self._ask()
        self._mark = max(self._permits - self._step, self._low if self._asked is None else _NEVER)

    def wait(self, exchange: Exchange, go: Callable[[], None]) -> None:
        """Call `go` once there is a permit for the request, or refuse it where there is none in this window."""
        if self._is_spent():
            self._refuse(exchange, self._clock())
            return
        self._waiting.append((exchange, go))
        if self._asked is None:
            self._ask()

    def _is_spent(self) -> bool:
        return not (self._key_left and self._tenant_left)

    def _tell(self, now_ns: int) -> bytes:
        """As of the last slice: what is held here is left still, what other workers hold is not."""
        seconds = self._seconds_left(now_ns)
        permits = self._permits
        standing = (self._key_left + permits, seconds, self._tenant_left + permits, seconds)
        return _LINES % (self._policy_line, *standing)

    def _seconds_left(self, now_ns: int) -> int:
        return max(1, -((now_ns - self._ends_ns) // NANOSECONDS))

    def _refuse(self, exchange: Exchange, now_ns: int) -> None:
        exchange.rate_lines = self._tell(now_ns)
        seconds = self._seconds_left(now_ns)
        detail = why_refused(self._limits, self._key_left, seconds)
        exchange.refuse(Refusal(Code.TOO_MANY_REQUESTS, detail, retry_after_seconds=seconds))

    # ---- slices

    def _ask(self) -> None:
        waiting = len(self._waiting)
        self._asked = ask = Ask(self._window, waiting, self._taken + waiting)
        names = script_keys(self._asker, ask.window, self._rates.partitions)
        arguments = script_arguments(self._limits, ask)
        command = pack(b"EVALSHA", scripts.ADMIT.digest, len(names), *names, *arguments)
        self._rates.redis.send(command, self, is_script=True)

    def received(self, reply: Reply) -> None:
        """A slice, or less, or nothing."""
        ask, self._asked = self._asked, None
        now_ns = self._clock()
        self._renew(now_ns)
        if ask is not None and ask.window == self._window:
            self._take(Admission(*reply))
        while self._waiting and self._permits:
            exchange, go = self._waiting.popleft()
            self._permits -= 1
            exchange.rate_lines = self._tell(now_ns)
            go()
        if self._is_spent():
            refused, self._waiting = self._waiting, deque()
            for exchange, _ in refused:
                self._refuse(exchange, now_ns)
        elif self._waiting and self._asked is None:
            self._ask()

    def _take(self, admission: Admission) -> None:
        self._permits += admission.granted
        self._taken += admission.granted
        self._mark = self._permits
        self._key_left, self._tenant_left = admission.key_left, admission.tenant_left
        # Near the end nothing is given ahead, so nobody asks for it.
        has_more = min(self._key_left, self._tenant_left) >= AHEAD_SHARE
        self._low = admission.granted // 2 if has_more else _NEVER

    def failed(self, error: Exception) -> None:
        """Nobody can count: let through what waits. A slice that was on its way is lost."""
        self._asked = None
        if not isinstance(error, Refusal):
            log.error("requests cannot be counted", exc_info=error)
        waiting, self._waiting = self._waiting, deque()
        for exchange, go in waiting:
            _UNCOUNTED.add(_UNCOUNTED_ROW)
            exchange.rate_lines = self._policy_line
            go()
