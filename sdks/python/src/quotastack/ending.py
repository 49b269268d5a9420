"""The end of a process, and its forks: usage that waits is not lost without a word.

Who has usage that waits is remembered here until it is closed. At the exit a durable spool takes what is in buffers;
from memory it is sent, once, in what time there is. A child of a fork begins with nothing: what waits is its parent's.
"""

import atexit
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakSet

from quotastack.events import Event
from quotastack.retries import LAST_CHANCE
from quotastack.settings import Settings
from quotastack.spool import Spool
from quotastack.verdicts import Fate

_log = logging.getLogger("quotastack")


class Forgetful(Protocol):
    """Has state that a child of a fork must not share."""

    def forget(self) -> None:
        """Begin anew."""
        ...


class Leaving(Protocol):
    """Has usage that waits."""

    @property
    def settings(self) -> Settings:
        """Whose it is."""
        ...

    def leave(self) -> list[Event]:
        """What is lost if it is not sent now."""
        ...


_watched: set[Leaving] = set()
_clients: WeakSet[Any] = WeakSet()
_hooked_in = 0
"""The process that has its hook."""


def remember(client: Forgetful) -> None:
    """Have the client begin anew in every child."""
    _clients.add(client)


def watch(leaving: Leaving) -> None:
    """Ask for what waits when the process ends."""
    global _hooked_in  # noqa: PLW0603 - a process has one end
    _watched.add(leaving)
    if _hooked_in != os.getpid():
        _hooked_in = os.getpid()
        atexit.register(_leave)
        # A child of multiprocessing ends without atexit before Python 3.13, and runs finalizers.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(None, _leave, exitpriority=0)


def unwatch(leaving: Leaving) -> None:
    """Nothing waits any more."""
    _watched.discard(leaving)


def let_go(spool: Spool) -> None:
    """Close a spool, and say what goes with it."""
    if not spool.is_durable and (count := len(spool)):
        _log.error("%s events are LOST: they waited in memory, and the client is closed", count)
    spool.close()


def _leave() -> None:
    while _watched:
        leaving = _watched.pop()
        try:
            if events := leaving.leave():
                _send_last(leaving.settings, events)
        except Exception:  # noqa: BLE001 - others have usage that waits, too
            _log.exception("what waited with %s is LOST at the exit", leaving)


def _send_last(settings: Settings, events: Sequence[Event]) -> None:
    """Over a connection of its own, whatever became of the others."""
    from quotastack._sync.sending import Sender  # noqa: PLC0415 - both need this module
    from quotastack._sync.transport import Transport  # noqa: PLC0415

    transport = Transport(settings)
    verdicts = Sender(transport).send(events, LAST_CHANCE, is_late=True)
    transport.close()
    for event, verdict in zip(events, verdicts, strict=True):
        if verdict.fate is not Fate.TAKEN:
            _log.error("usage %s is LOST at the exit: %s %s", event, verdict.code, verdict.detail)


def _begin_anew() -> None:
    _watched.clear()
    for client in list(_clients):
        client.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
