"""A program that makes LiteLLM's calls, none of which leaves the machine, and says what became of each.

A line `["which call", "user"]` comes in, a line of JSON goes out. It runs in LiteLLM's own environment
(`.venv-integrations`): what that brings cannot stand beside the product.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import litellm  # pyright: ignore[reportMissingImports]
import msgspec

from quotastack import QuotaStack
from quotastack.integrations.litellm import QuotaStackLogger, pools_of
from tests.waiting import wait_until

FEATURES = {
    "input": "input_tokens",
    "cached_input": "cached_input_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}
MESSAGES = [{"role": "user", "content": "Hello?"}]
WHOLE = {
    "prompt_tokens": 3000,
    "completion_tokens": 1500,
    "total_tokens": 4500,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_creation_tokens": 500},
    "completion_tokens_details": {"reasoning_tokens": 400},
}
Outcome = dict[str, Any]
SAID = "outcome "
"""Begins the lines that are ours: LiteLLM says this and that, too."""


class Logger(QuotaStackLogger):
    """Notes which calls it is done with."""

    def __init__(self, client: QuotaStack, **options: Any) -> None:
        super().__init__(client, features=FEATURES, **options)
        self.done: list[str] = []
        self.pools: Outcome = {}

    def _record(self, call: Mapping[str, Any], response: Any) -> None:
        super()._record(call, response)
        if not call.get("cache_hit"):
            self.pools = msgspec.structs.asdict(pools_of(response.usage))
        self.done.append("success")

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Nothing was used."""
        await super().async_log_failure_event(kwargs, response_obj, start_time, end_time)
        self.done.append("failure")


def call(**options: Any) -> Outcome:
    """LiteLLM's arguments."""
    return {"model": "gpt-4o", "messages": MESSAGES, "mock_response": "Hello you"} | options


def whole_answer() -> Any:
    """An answer with tokens of every kind."""
    choices = [{"message": {"role": "assistant", "content": "Hello"}}]
    return litellm.ModelResponse(usage=litellm.Usage(**WHOLE), choices=choices)


async def drain(stream: Any) -> None:
    """Read an answer to its end."""
    async for _ in stream:
        pass


async def settled(logger: Logger, work: Callable[[], Awaitable[Any]]) -> Outcome:
    """Make a call, and wait until it is accounted for; what it raised."""
    before, error = len(logger.done), None
    try:
        await work()
    except Exception as raised:  # noqa: BLE001 - it is what the test is about
        error = type(raised).__name__
    await asyncio.to_thread(wait_until, lambda: len(logger.done) > before, 20, "the call to be accounted for")
    await asyncio.to_thread(logger._client.flush)  # noqa: SLF001
    return {"error": error, "ended": logger.done[before], "pools": logger.pools}


async def make(logger: Logger, what: str, user: str) -> Outcome:
    """One of the calls."""
    logger._reserve = {"output_tokens": 2000} if what.startswith("reserved") else {}  # noqa: SLF001

    async def completion(**options: Any) -> Any:
        return await asyncio.to_thread(litellm.completion, **call(user=user, **options))

    async def acompletion(**options: Any) -> Any:
        return await litellm.acompletion(**call(user=user, **options))

    async def stream() -> None:
        await asyncio.to_thread(lambda: list(litellm.completion(**call(user=user, stream=True))))

    async def twice(same: Callable[[], Awaitable[Any]]) -> None:
        await settled(logger, same)
        await settled(logger, same)

    async def cached() -> None:
        await settled(logger, acompletion)
        told = {
            "litellm_call_id": f"{user} cached",
            "user": user,
            "cache_hit": True,
        }  # LiteLLM's cache needs a web server
        await logger.async_log_success_event(told, whole_answer(), None, None)

    async def told_twice() -> None:
        told, answer = {"litellm_call_id": f"{user} told", "user": user}, whole_answer()
        await logger.async_log_success_event(told, answer, None, None)
        await logger.async_log_success_event(told, answer, None, None)

    works: dict[str, Callable[[], Awaitable[Any]]] = {
        "sync": completion,
        "sync stream": stream,
        "async": acompletion,
        "async stream": lambda: _streamed(acompletion),
        "every kind": lambda: acompletion(mock_response=whole_answer()),
        "two calls of one id": lambda: twice(lambda: acompletion(litellm_call_id=f"{user} 1")),
        "one answer, told twice": told_twice,
        "cached": cached,
        "failure": lambda: acompletion(mock_response=RuntimeError("no model")),
        "reserved": lambda: acompletion(mock_response=whole_answer()),
        "reserved stream": lambda: _streamed(acompletion),
        "reserved failure": lambda: acompletion(mock_response=RuntimeError("no model")),
        "reserved by who is poor": acompletion,
    }
    return await settled(logger, works[what])


async def _streamed(acompletion: Callable[..., Awaitable[Any]]) -> None:
    await drain(await acompletion(stream=True))


async def main() -> None:
    """Serve lines until there are none; LiteLLM keeps the first logger and loop that it meets."""
    with QuotaStack() as client:
        logger = Logger(client)
        litellm.callbacks = [logger]
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(SAID + json.dumps(await make(logger, *json.loads(line))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    asyncio.run(main())
