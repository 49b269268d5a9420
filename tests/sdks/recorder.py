"""A program that uses the Python SDK, and ends in one way or another: `recorder.py <what> <sync|async> <spool> <user>`.

Keys and addresses are in its environment. What it was told is kept, it prints.
"""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from quotastack import AsyncQuotaStack, QuotaStack

LONG = 3600.0
"""Seconds after which a buffer is sent by itself: never, here."""


def say(what: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def options(spool: str) -> dict[str, Any]:
    """Of both clients; no spool is memory."""
    return {"spool": Path(spool) if spool else None, "attempts": 1, "flush_interval": LONG, "timeout": 5.0}


def record(spool: str, user: str) -> None:
    """Record one event after the other, until somebody kills this process."""
    client, number = QuotaStack(**options(spool)), 0
    while True:
        recorded = client.record_usage(user, feature_key="api_calls", idempotency_key=f"{user}:{number}")
        say(f"{number} {recorded.source}")
        number += 1


async def record_async(spool: str, user: str) -> None:
    """The same on a loop, eight at a time."""
    client = AsyncQuotaStack(**options(spool))

    async def one(first: int) -> None:
        number = first
        while True:
            recorded = await client.record_usage(user, feature_key="api_calls", idempotency_key=f"{user}:{number}")
            say(f"{number} {recorded.source}")
            number += 8

    await asyncio.gather(*[one(first) for first in range(8)])


def leave(spool: str, user: str) -> None:
    """Buffer, and end without a word to the client."""
    client = QuotaStack(**options(spool))
    for number in range(5):
        client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:{number}")


async def leave_async(spool: str, user: str) -> None:
    """The same on a loop that ends."""
    client = AsyncQuotaStack(**options(spool))
    for number in range(5):
        client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:{number}")


def fork(spool: str, user: str) -> None:
    """Parent and child both buffer with the client that was made before the fork, and both end."""
    client = QuotaStack(**options(spool))
    for number in range(3):
        client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:parent {number}")
    child = os.fork()
    if child == 0:
        for number in range(2):
            client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:child {number}")
        return
    os.waitpid(child, 0)


def orphan(spool: str, user: str) -> None:
    """A child of the fork lives on after its parent, until the test has done with it."""
    client = QuotaStack(**options(spool))
    client.record_usage(user, feature_key="api_calls", units=5)
    if os.fork() == 0:
        say("child")
        sys.stdin.read()
    os._exit(0)


def buffer_in_child(client: QuotaStack, user: str) -> None:
    """What a worker of multiprocessing does."""
    for number in range(2):
        client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:child {number}")


def multiprocess(spool: str, user: str) -> None:
    """The same with multiprocessing, whose children have an end of their own."""
    client = QuotaStack(**options(spool))
    for number in range(3):
        client.buffer_usage(user, feature_key="api_calls", idempotency_key=f"{user}:parent {number}")
    worker = multiprocessing.get_context("fork").Process(target=buffer_in_child, args=(client, user))
    worker.start()
    worker.join()


PROGRAMS: dict[tuple[str, str], Callable[[str, str], Coroutine[Any, Any, None] | None]] = {
    ("record", "sync"): record,
    ("record", "async"): record_async,
    ("leave", "sync"): leave,
    ("leave", "async"): leave_async,
    ("fork", "sync"): fork,
    ("orphan", "sync"): orphan,
    ("multiprocess", "sync"): multiprocess,
}

if __name__ == "__main__":
    what, kind, directory, end_user_id = sys.argv[1:]
    running = PROGRAMS[what, kind](directory, end_user_id)
    if running is not None:
        asyncio.run(running)
