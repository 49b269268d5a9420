"""A client as it should be: it sends a request under its key until it is answered."""

from collections import Counter
from http import HTTPStatus
from typing import Any

import aiohttp

from loadtests.load.client import PASSING_CODES
from loadtests.load.judging import MICRO, is_passing
from tests.chaos.oracle import Told
from tests.flow.stack import Answer, Client
from tests.waiting import wait_until_async

ATTEMPT_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
"""For one request, with all its attempts: whatever was done to the product is over by then."""
LATER = frozenset({"event_pending", "idempotency_key_in_flight", "too_many_requests"})
"""Codes of answers that are not 503 and say no more than: later."""


class Asker:
    """Asks one base URL; `troubles` counts what came instead of answers."""

    def __init__(self, client: Client, troubles: Counter[str]) -> None:
        self._client = client
        self._troubles = troubles

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **params: Any) -> Answer:
        """The answer. AssertionError where none comes, or one that no request may ever have."""
        options: dict[str, Any] = {"params": params, "timeout": aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)}
        if body is not None:
            options["json"] = body
        if key is not None:
            options["headers"] = {"Idempotency-Key": key}

        async def look() -> Answer | None:
            try:
                answer = await self._client.send(method, path, **options)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._troubles[type(error).__name__] += 1
                return None
            return None if self._is_passing(answer) else answer

        return await wait_until_async(look, PATIENCE_SECONDS, f"{method} {path} {body} to be answered")

    def _is_passing(self, answer: Answer) -> bool:
        assert answer.status != HTTPStatus.INTERNAL_SERVER_ERROR, answer.body
        code = answer.body.get("code") if isinstance(answer.body, dict) else None
        is_later = is_passing(answer.status, answer.raw) or code in LATER
        if is_later:
            self._troubles[f"{answer.status} {code}"] += 1
        return is_later


def is_later(result: Any) -> bool:
    """Whether an event of a batch was not decided on, and may be sent again."""
    return result["status"] == "rejected" and result["code"] in PASSING_CODES | LATER


def told_by(body: Any) -> Told:
    """What the answer to an accepted event says; without a cost where it is kept to be priced later."""
    cost = body["cost"]
    return Told(True, None if cost is None else to_micro(cost), body["event_id"])  # noqa: FBT003 - it is accepted


def to_micro(credit: float) -> int:
    """Credits of an answer in millionths."""
    return round(credit * MICRO)
