"""Both Python clients behind one way to call them, so that one test speaks of both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from quotastack import AsyncQuotaStack, QuotaStack

Kind = Literal["sync", "async"]
KINDS: tuple[Kind, ...] = ("sync", "async")


class Python:
    """A client of one kind. Its verbs are awaited; those of the sync one run in a thread."""

    def __init__(self, client: QuotaStack | AsyncQuotaStack) -> None:
        self.client = client

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        method = getattr(self.client, verb)

        async def call(*arguments: Any, **options: Any) -> Any:
            if isinstance(self.client, QuotaStack):
                return await asyncio.to_thread(method, *arguments, **options)
            answer = method(*arguments, **options)
            return answer if answer is None else await answer

        return call

    async def end(self, handle: Any, verb: str, **options: Any) -> Any:
        """Call a verb of something that the client gave, such as a reservation."""
        if isinstance(self.client, QuotaStack):
            return await asyncio.to_thread(getattr(handle, verb), **options)
        return await getattr(handle, verb)(**options)

    async def within(self, verb: str, work: Callable[[Any], None], *arguments: Any, **options: Any) -> None:
        """Do something in the block of a context manager that a verb gives."""
        opening = getattr(self.client, verb)

        def in_thread() -> None:
            with opening(*arguments, **options) as handle:
                work(handle)

        if isinstance(self.client, QuotaStack):
            await asyncio.to_thread(in_thread)
        else:
            async with opening(*arguments, **options) as handle:
                work(handle)


@asynccontextmanager
async def python(kind: Kind, **options: Any) -> AsyncIterator[Python]:
    """A client, closed in the end."""
    client = QuotaStack(**options) if kind == "sync" else AsyncQuotaStack(**options)
    caller = Python(client)
    try:
        yield caller
    finally:
        await caller.close()
