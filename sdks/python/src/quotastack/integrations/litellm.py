"""Token usage of every call that LiteLLM makes: in an application, in its Router, or in its proxy.

    litellm.callbacks = [QuotaStackLogger(QuotaStack(), features={"input": "input_tokens", "output": "output_tokens"})]

After a successful call, of a streamed one after its last piece, one event a pool of tokens is recorded, under a key
of the call and its answer. Cached answers of LiteLLM itself are not charged: no provider counted them.

With `reserve` the most that a call may use is set aside before it, and what it came to is committed after it. LiteLLM
has a place for that before async calls only (`acompletion`, the Router's, the proxy's).
"""

# LiteLLM stands in an environment of its own, where type checkers do not look.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# ruff: noqa: ARG002 - what a callback is given is LiteLLM's matter

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from threading import Lock
from typing import Any
from uuid import UUID, uuid5

import msgspec
from litellm.integrations.custom_logger import CustomLogger

from quotastack._sync.client import QuotaStack
from quotastack._sync.reservations import Reservation
from quotastack.errors import QuotaStackError
from quotastack.events import new_key
from quotastack.token_usage import TokenPools, token_usage, usage_events

MAX_OPEN_CALLS = 10_000
"""Whose reservations are remembered. One that is forgotten falls due by itself."""
_KEYS = UUID("5b1f0d3e-8c57-4f0b-9a55-6c0f3f2a7d11")
_log = logging.getLogger("quotastack")


def user_of(call: Mapping[str, Any]) -> str | None:
    """The `user` that the caller gave LiteLLM."""
    return call.get("user")


class QuotaStackLogger(CustomLogger):
    """Charges the `user` of each call for its tokens.

    `features` names the feature of each pool, as `usage_events` takes them. `user` finds your own id of the customer in
    LiteLLM's arguments of the call. `reserve` names features, and the most units of each that a call may use; a
    customer who has not as much is refused (InsufficientCreditsError and its kin) before the call. `ttl_seconds` is the
    longest that a call may take then.
    """

    def __init__(
        self,
        client: QuotaStack,
        *,
        features: Mapping[str, str],
        user: Callable[[Mapping[str, Any]], str | None] = user_of,
        reserve: Mapping[str, int] | None = None,
        ttl_seconds: int = 600,
    ) -> None:
        super().__init__()
        self._client = client
        self._features = dict(features)
        self._user = user
        self._reserve = dict(reserve or {})
        self._ttl_seconds = ttl_seconds
        self._open: OrderedDict[str, dict[str, Reservation]] = OrderedDict()
        self._lock = Lock()

    # ---- before a call

    async def async_pre_call_deployment_hook(
        self, kwargs: MutableMapping[str, Any], call_type: object
    ) -> dict[str, Any] | None:
        """Set aside what the call may use. What it raises, the caller hears."""
        if self._reserve:
            await asyncio.to_thread(self._set_aside, kwargs)
        return None

    def _set_aside(self, call: Mapping[str, Any]) -> None:
        call_id, user = call["litellm_call_id"], self._user(call)
        if user is None:
            return
        self._release(call_id)
        held: dict[str, Reservation] = {}
        try:
            for feature_key, units in self._reserve.items():
                held[feature_key] = self._client.reserve(
                    user, feature_key=feature_key, units=units, ttl_seconds=self._ttl_seconds
                )
        finally:
            self._keep(call_id, held)
            if len(held) < len(self._reserve):
                self._release(call_id)

    def _keep(self, call_id: str, held: dict[str, Reservation]) -> None:
        with self._lock:
            self._open[call_id] = held
            if len(self._open) > MAX_OPEN_CALLS:
                self._open.popitem(last=False)

    def _take(self, call_id: str) -> dict[str, Reservation]:
        with self._lock:
            return self._open.pop(call_id, {})

    def _release(self, call_id: str) -> None:
        """Give back what an attempt of the call had set aside."""
        for feature_key, reservation in self._take(call_id).items():
            try:
                reservation.release()
            except Exception:  # noqa: BLE001 - it falls due by itself
                _log.exception("the reservation of %s of call %s was not released", feature_key, call_id)

    # ---- after it

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record what a call used that was made without a loop."""
        self._record(kwargs, response_obj)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record what a call used that was made on a loop."""
        await asyncio.to_thread(self._record, kwargs, response_obj)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Nothing was used."""
        await asyncio.to_thread(self._release, str(kwargs.get("litellm_call_id")))

    def _record(self, call: Mapping[str, Any], response: object) -> None:
        call_id, user = str(call["litellm_call_id"]), self._user(call)
        if call.get("cache_hit"):
            self._release(call_id)
        elif user is None:
            _log.error("call %s has no user, so nobody is charged for it", call_id)
        elif (usage := getattr(response, "usage", None)) is None:
            _log.error("call %s says nothing of tokens, so nobody is charged for it", call_id)
            self._release(call_id)
        else:
            self._charge(call_id, key_of(call_id, response), user, pools_of(usage))

    def _charge(self, call_id: str, key: str, user: str, pools: TokenPools) -> None:
        held = self._take(call_id)
        for event in usage_events(user, pools, features=self._features, idempotency_key=key):
            units, feature_key = event.get("units", 0), event["feature_key"]
            if feature_key in held:
                held[feature_key].used = units
            else:
                self._client.buffer_usage(user, feature_key=feature_key, units=units, idempotency_key=key)
        for feature_key, reservation in held.items():
            try:
                with reservation:  # which ends it
                    pass
            except QuotaStackError:
                _log.exception("%s of %s, call %s, are not committed", reservation.used, feature_key, call_id)


def key_of(call_id: str, response: object) -> str:
    """The idempotency key of a call that was answered.

    The id of the call alone would not do: LiteLLM's proxy takes that from a header, and whoever chooses the key
    chooses not to pay. The id of the response is the provider's.
    """
    answer = getattr(response, "id", None)
    return str(uuid5(_KEYS, f"{call_id} {answer}")) if answer else new_key()


def pools_of(usage: object) -> TokenPools:
    """The pools of LiteLLM's usage, in which what was written to a cache is part of the input, and is said thrice."""
    pools = token_usage(usage)
    details = getattr(usage, "prompt_tokens_details", None)
    if details is None or pools.cache_write:
        return pools
    written = min(int(getattr(details, "cache_creation_tokens", None) or 0), pools.input)
    return msgspec.structs.replace(pools, input=pools.input - written, cache_write=written)
