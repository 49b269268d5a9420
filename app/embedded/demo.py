"""The demo tenant of `quotastack run`: made once through core's API, as any tenant would be."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from app.embedded.errors import EmbeddedError
from app.embedded.secret_file import Demo
from app.io.outbound import NO_ANSWER, Answer, Session, open_session, send

FEATURE_KEY: Final = "api_calls"
"""The feature of the first steps."""

_REQUEST_SECONDS: Final = 30
_NAMES: Final = {FEATURE_KEY: "API calls", "ai_request": "AI requests"}
"""Metered features, one credit each: that of the first steps, and that of the README's integration."""
_CREDITS_BY_PLAN: Final = {"free": 50, "pro": 50_000}
_SHOWN_PLAN: Final = "pro"


async def ensure_demo(core_url: str, admin_token: str, kept: Demo | None, keep: Callable[[Demo], None]) -> Demo:
    """Answer the demo tenant: the kept one where core still knows its key, else a new one.

    `keep` is called as soon as there is something to remember, so that a crash in between makes no second tenant.
    Raises EmbeddedError.
    """
    async with open_session(total_seconds=_REQUEST_SECONDS) as session:
        core = _Core(session, core_url)
        demo = kept
        if demo is None or not await core.knows(demo.sandbox_key):
            answer = await core.post(admin_token, "/v1/tenants", {"name": "demo"})
            demo = Demo(answer["tenant_id"], answer["sandbox_key"], answer["live_key"])
            keep(demo)
        if demo.plan_variant_id is None:
            variant_id = await core.make_catalogue(demo.sandbox_key)
            await core.make_catalogue(demo.live_key)
            demo = msgspec.structs.replace(demo, plan_variant_id=variant_id)
            keep(demo)
        return demo


class _Core:
    def __init__(self, session: Session, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def knows(self, key: str) -> bool:
        """Ask whether an API key is valid: it is not where the database is another one than last time."""
        answer = await self._send("GET", key, "/v1/features")
        if answer.status not in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}:
            raise EmbeddedError(_refusal("/v1/features", answer))
        return answer.status == HTTPStatus.OK

    async def make_catalogue(self, key: str) -> str:
        """Make the features and the plans of one environment; answers the id of the shown plan's variant."""
        for feature, name in _NAMES.items():
            price = {"kind": "per_unit", "amount": 1, "per": 1}
            await self.post(key, "/v1/features", {"key": feature, "name": name, "kind": "metered", "price": price})
        shown = ""
        for plan, credits_per_month in _CREDITS_BY_PLAN.items():
            await self.post(key, "/v1/plans", {"key": plan, "name": plan.capitalize()})
            variant = {
                "key": "monthly",
                "interval": "month",
                "grants": [{"amount": credits_per_month, "interval": "month"}],
                "features": [{"feature_key": feature} for feature in _NAMES],
            }
            made = await self.post(key, f"/v1/plans/{plan}/variants", variant)
            if plan == _SHOWN_PLAN:
                shown = made["plan_variant_id"]
        return shown

    async def post(self, key: str, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 - the answer's JSON
        """Make something. The idempotency key says what, so that an interrupted start goes on where it stopped."""
        answer = await self._send("POST", key, path, body)
        if answer.status != HTTPStatus.CREATED:
            raise EmbeddedError(_refusal(path, answer))
        return answer.json()

    async def _send(self, method: str, key: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {key}"}
        if body is not None and "key" in body:  # a tenant has none: it is remembered here
            headers["Idempotency-Key"] = f"demo:{path}:{body['key']}"
        try:
            return await send(self._session, method, self._base_url + path, headers=headers, body=body)
        except NO_ANSWER as error:
            raise EmbeddedError(f"core at {self._base_url} gave no answer to {method} {path}: {error!r}") from error


def _refusal(path: str, answer: Answer) -> str:
    return (
        f"core refused {path} for the demo tenant with status {answer.status}: {answer.body.decode(errors='replace')}"
    )
