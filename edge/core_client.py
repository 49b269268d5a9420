"""Core's internal endpoints: they bring into Redis what the edge misses there."""

from logging import getLogger
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from app.wire.codes import Code
from edge.flights import Flights
from edge.refusals import Refusal

log = getLogger(__name__)

REQUEST_SECONDS = 4.0
"""Core waits at most 2 s for what is under way of an account."""
MAX_CONNECTIONS = 32
MAX_UNDER_WAY = 1_000
"""Different things asked of core at once; beyond it requests are refused."""


class _Body(msgspec.Struct):
    status: str


_decoder = msgspec.json.Decoder(_Body)


class CoreClient:
    """Asks for one thing once, however many want it. Every `load_` raises a 503 refusal where core does not answer."""

    def __init__(self, url: str, secret: str) -> None:
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
        )
        self._flights: Flights[tuple[str, bytes], str] = Flights()

    async def load_account(self, environment_id: UUID, end_user_id: str, *, enroll: bool) -> str:
        """Have an account put into Redis: 'loaded' | 'unknown' | 'busy'. `enroll`: and made, where that is wanted."""
        question = {"environment_id": environment_id, "end_user_id": end_user_id, "enroll": enroll}
        return await self._ask("/internal/accounts/load", question, Code.ACCOUNT_UNAVAILABLE)

    async def load_reservation(self, environment_id: UUID, reservation_id: UUID) -> str:
        """Have a reservation put into Redis, an open one with its account: 'loaded' | 'unknown' | 'busy'."""
        question = {"environment_id": environment_id, "reservation_id": reservation_id}
        return await self._ask("/internal/reservations/load", question, Code.ACCOUNT_UNAVAILABLE)

    async def load_plan(self, environment_id: UUID, snapshot_id: str) -> str:
        """Have a plan snapshot put into Redis: 'loaded' | 'unknown'."""
        question = {"environment_id": environment_id, "snapshot_id": snapshot_id}
        return await self._ask("/internal/plans/load", question, Code.ACCOUNT_UNAVAILABLE)

    async def load_key(self, digest: bytes) -> str:
        """Have an API key's record put into Redis: 'loaded' | 'unknown' | 'found' (core cannot reach Redis)."""
        return await self._ask("/internal/keys/load", {"digest": digest.hex()}, Code.STORE_UNAVAILABLE)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _ask(self, path: str, question: dict[str, Any], unavailable: Code) -> str:
        body = msgspec.json.encode(question)
        if len(self._flights) >= MAX_UNDER_WAY:
            raise Refusal(unavailable, "Too much is being loaded at the moment; try again.")
        return await self._flights.join((path, body), lambda: self._post(path, body, unavailable))

    async def _post(self, path: str, body: bytes, unavailable: Code) -> str:
        try:
            async with self._session.post(path, data=body) as response:
                response.raise_for_status()
                return _decoder.decode(await response.read()).status
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("core did not answer %s: %s", path, error or type(error).__name__)
            detail = "What this request needs has to be loaded by core, and core does not answer; try again."
            raise Refusal(unavailable, detail) from error
