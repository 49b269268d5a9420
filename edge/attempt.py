"""Asking one account for something, and asking again once what stood in the way is gone.

The usual way is two calls, `send` and `received`, and no task. What can stand in the way: the account is not in Redis,
it is at a boundary until the flusher has posted what is due, or the worker does not have its plan snapshot.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from app.wire import scripts
from app.wire.codes import Code
from edge.accounts import Account
from edge.charging import cost_too_large
from edge.exchange import as_refusal
from edge.redis_link import Reply
from edge.refusals import Refusal
from edge.services import Services

MAX_DETOURS = 5
"""Loads and new prices that one request may need."""
WAIT_SECONDS = 2.0
"""How long one request waits, in all, for what is due to be posted."""
FIRST_DELAY_SECONDS = 0.001
LONGEST_DELAY_SECONDS = 0.05


def clock_at() -> int:
    """The machine's clock: microseconds since the epoch."""
    return time.time_ns() // 1000


class Patience:
    """What one request has left of its bounds."""

    __slots__ = ("_deadline", "_delay_seconds", "_detours")

    def __init__(self) -> None:
        self._detours = 0
        self._delay_seconds = FIRST_DELAY_SECONDS
        self._deadline: float | None = None

    def detour(self) -> None:
        """Count one more; raises Refusal beyond the bound."""
        self._detours += 1
        if self._detours > MAX_DETOURS:
            raise Refusal(
                Code.ACCOUNT_UNAVAILABLE, "The customer's account changes faster than it can be read; try again."
            )

    async def wait(self) -> None:
        """Wait twice as long as the time before; raises Refusal beyond the bound."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + WAIT_SECONDS
        if now >= self._deadline:
            raise not_posted_yet()
        await asyncio.sleep(self._delay_seconds)
        self._delay_seconds = min(2 * self._delay_seconds, LONGEST_DELAY_SECONDS)


def not_posted_yet() -> Refusal:
    """The account stays at its boundary."""
    return Refusal(Code.ACCOUNT_UNAVAILABLE, "What is due on the customer's account is not posted yet; try again.")


class UnexpectedReply(Exception):
    """The script answered what its header does not say."""


class Attempt:
    """One question to one account, until it is answered or refused."""

    __slots__ = ("_patience", "account", "services")

    def __init__(self, services: Services, account: Account) -> None:
        self.services = services
        self.account = account
        self._patience: Patience | None = None

    # ---- what each kind of question says of itself

    @property
    def request_id(self) -> bytes:
        """For the log."""
        raise NotImplementedError

    def send(self) -> None:
        """Ask Redis; the reply comes to `received`."""
        raise NotImplementedError

    def received(self, reply: Reply) -> None:
        """Answer, or overcome what stands in the way."""
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> None:
        """Answer with a refusal."""
        raise NotImplementedError

    # ---- what they have in common

    def failed(self, error: Exception) -> None:
        """Answer an exception."""
        self.refused(as_refusal(error, self.request_id))

    @property
    def patience(self) -> Patience:
        """Made when it is first needed: most requests need none."""
        if self._patience is None:
            self._patience = Patience()
        return self._patience

    def overcome(self, obstacle: Coroutine[Any, Any, None]) -> None:
        """Await the end of an obstacle, off the fast path, and ask again."""
        self.aside(self._send_after(obstacle))

    async def _send_after(self, obstacle: Coroutine[Any, Any, None]) -> None:
        await obstacle
        self.send()

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what has to be awaited; what it raises is answered."""
        self.services.start(self._answering_errors(work))

    async def _answering_errors(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
            self.failed(error)

    def believe(self, snapshot_id: bytes) -> None:
        """The account has another plan than was believed: ask again, with what this one says."""
        self.account.snapshot_id = snapshot_id
        if self.services.plans.get(snapshot_id) is None:
            self.overcome(self.load_plan(snapshot_id))
        else:
            self.patience.detour()
            self.send()

    def now_at(self) -> int:
        """What time it is for the customer, as far as this worker knows: that of a test clock, or ours."""
        frozen_at = self.account.frozen_at
        return clock_at() if frozen_at is None else frozen_at

    def account_at(self, last_at: bytes | None, valid_until: bytes, frozen: bytes | None) -> int | None:
        """The account's clock, by these fields of it; None where it is not loaded or at its boundary: asked again."""
        if last_at is None:
            self.overcome(self.load_account())
            return None
        self.account.frozen_at = None if frozen is None else int(frozen)
        at = max(self.now_at(), int(last_at))
        if at < int(valid_until):
            return at
        self.overcome(self.tick())
        return None

    def is_on(self, snapshot_id: bytes, found: bytes | None) -> bool:
        """Whether the plan of the account that was found is this one; where it is not, it is asked again."""
        if found is None:
            self.overcome(self.load_account())
        elif found != snapshot_id:
            self.believe(found)
        return found == snapshot_id

    def obstacle(self, reply: Reply) -> None:
        """What every script may answer that takes credit. Raises UnexpectedReply."""
        match reply[0]:
            case b"miss":
                self.overcome(self.load_account())
            case b"wait":
                self.overcome(self.wait())
            case b"backlog" | b"full":
                self.refused(Refusal(Code.BACKLOG, "More usage is waiting to be posted than may wait; try again."))
            case b"dear":
                self.refused(cost_too_large(int(reply[1])))
            case b"range":
                detail = "The balance would leave the range that can be kept exactly."
                self.refused(Refusal(Code.BALANCE_OUT_OF_RANGE, detail))
            case other:
                raise UnexpectedReply(other)

    async def load_account(self) -> None:
        """The account is not in Redis: core brings it. Raises Refusal."""
        self.patience.detour()
        account = self.account
        status = await self.services.core.load_account(
            account.environment_id, account.end_user_id, enroll=account.may_enroll
        )
        if status == "unknown":
            raise Refusal(Code.UNKNOWN_CUSTOMER, f"No customer has the end_user_id '{account.end_user_id}'.")
        if status != "loaded":
            raise Refusal(Code.ACCOUNT_LOADING, "The customer's account is being loaded; try again.")

    async def load_plan(self, snapshot_id: bytes) -> None:
        """The worker does not have the plan snapshot. Raises Refusal."""
        self.patience.detour()
        await self.services.plans.load(self.account.environment_id, snapshot_id)

    async def wait(self) -> None:
        """A tick is under way. Raises Refusal."""
        await self.patience.wait()

    async def tick(self) -> None:
        """The account is at its boundary: leave a tick, and wait. Raises Refusal."""
        account = self.account
        await self.services.redis.run(scripts.TICK, (account.key, account.stream), clock_at(), account.ref)
        await self.wait()
