"""The whole of metering a streamed answer: check, reserve what it may cost at most, stream, commit what it did cost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import msgspec

from docs.demo import model
from docs.demo.catalogue import FEATURE
from quotastack import (
    AsyncQuotaStack,
    AsyncReservation,
    EntitlementCheck,
    InsufficientCreditsError,
    QuotaStackError,
)

MOST_TOKENS: Final = 120
"""Of an answer: what is reserved for it."""
LEAST_TOKENS: Final = 10
"""With credit for fewer no answer begins."""
TTL_SECONDS: Final = 10
"""Of a reservation. Short, and extended: where this process dies, the credit is back so soon."""
EXTEND_SECONDS: Final = 2
SETTLE_SECONDS: Final = 2
"""Between two attempts to commit while metering is away."""
END_SECONDS: Final = 5
"""How long the end of the app waits for commits."""


class Token(msgspec.Struct, frozen=True, tag="token"):
    """A piece of the answer."""

    text: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """There is no answer. The reason decides what the page shows."""

    reason: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The answer is over. `charged` is None where metering is away: it will be charged once that is back."""

    used: int
    reserved: int
    charged: float | None
    is_cut: bool
    """The credit did not suffice for a longer one."""


Event = Token | Refused | Ended


class NotAdmitted(Exception):
    """No answer begins; the argument is the reason."""


def affordable(check: EntitlementCheck) -> int:
    """How many tokens an answer may have, by the check for `MOST_TOKENS` of them.

    All of them where the check says yes, or the fail mode in its place; else what the balance is good for.
    """
    if check.allowed:
        return MOST_TOKENS
    if check.reason != "insufficient_credits" or not check.cost or check.balance is None:
        return 0
    return max(0, int(MOST_TOKENS * check.balance / check.cost))


class Chat:
    """Answers prompts for credit."""

    def __init__(self, metering: AsyncQuotaStack, tokens_per_second: float, *, fails_open: bool) -> None:
        self._metering = metering
        self._tokens_per_second = tokens_per_second
        self._fails_open = fails_open
        self._settling: set[asyncio.Task[None]] = set()

    async def answer(self, user: str, prompt: str) -> AsyncGenerator[Event, None]:
        """The answer as it comes. Whatever ends it, what was streamed until then is charged."""
        request_id = uuid4().hex
        try:
            tokens, reservation = await self._admit(user, request_id)
        except NotAdmitted as refused:
            yield Refused(str(refused))
            return
        used, charged = 0, None
        try:
            async with kept_open(reservation):
                async for text in model.stream(prompt, tokens, self._tokens_per_second):
                    used += 1
                    yield Token(text)
        finally:
            if reservation is None:
                self._record(user, request_id, used)
            else:
                charged = await self._commit(reservation, used)
        yield Ended(used, tokens, charged, is_cut=used == tokens < len(model.answer(prompt)))

    async def _admit(self, user: str, request_id: str) -> tuple[int, AsyncReservation | None]:
        """How many tokens there may be, and the reservation for them: None where metering is away and we fail open."""
        check = await self._metering.check_entitlement(user, FEATURE, units=MOST_TOKENS)
        tokens = affordable(check)
        if tokens < LEAST_TOKENS:
            raise NotAdmitted(check.reason)
        if check.source == "fallback":
            return tokens, None
        try:
            reservation = await self._metering.reserve(
                user, feature_key=FEATURE, units=tokens, ttl_seconds=TTL_SECONDS, idempotency_key=request_id
            )
        except InsufficientCreditsError as error:  # another tab was faster
            raise NotAdmitted(error.code) from error
        except QuotaStackError as error:
            if not error.is_passing:
                raise
            if not self._fails_open:
                raise NotAdmitted("unavailable") from error
            return tokens, None
        return tokens, reservation

    def _record(self, user: str, request_id: str, used: int) -> None:
        """Usage of an answer that nothing was reserved for: sent as soon as metering is back, and counted once."""
        if used:
            self._metering.buffer_usage(user, feature_key=FEATURE, units=used, idempotency_key=request_id)

    async def _commit(self, reservation: AsyncReservation, used: int) -> float | None:
        """What was charged; None where metering is away, and we go on trying: a late commit is taken in full."""
        try:
            return (await reservation.commit(units=used)).charged
        except QuotaStackError as error:
            if not error.is_passing:
                raise
        task = asyncio.create_task(settle(reservation, used))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return None

    async def end(self) -> None:
        """Wait for commits that are still tried: what nobody hears within END_SECONDS expires, and is not charged."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=END_SECONDS)


async def settle(reservation: AsyncReservation, used: int) -> None:
    """Commit as soon as metering is back. The reservation's id is the key: it is charged once."""
    while True:
        await asyncio.sleep(SETTLE_SECONDS)
        try:
            await reservation.commit(units=used)
        except QuotaStackError as error:
            if not error.is_passing:
                raise
        else:
            return


@asynccontextmanager
async def kept_open(reservation: AsyncReservation | None) -> AsyncIterator[None]:
    """Extend the reservation meanwhile, beside the stream, which waits for nobody."""
    extending = asyncio.create_task(extend(reservation))
    try:
        yield
    finally:
        extending.cancel()


async def extend(reservation: AsyncReservation | None) -> None:
    """Again and again. One that has expired meanwhile is committed late, and charged all the same."""
    while reservation is not None:
        await asyncio.sleep(EXTEND_SECONDS)
        try:
            await reservation.extend(ttl_seconds=TTL_SECONDS)
        except QuotaStackError as error:
            if not error.is_passing:
                return
