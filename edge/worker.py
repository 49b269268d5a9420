"""One worker process: its event loop, its end."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from logging import getLogger

import uvloop

from edge.draining import drain
from edge.listener import MAX_CONNECTIONS, MORE_DESCRIPTORS, Listener
from edge.observing import STARTS, Observer
from edge.redis_server import AgreementMismatch
from edge.routes import BODY_LIMITS, Router
from edge.services import Services
from edge.settings import EdgeSettings, SettingsError

log = getLogger(__name__)

EX_CONFIG = 78
"""The exit code of a worker that must not be started again: it is not set as the data is."""

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def run(settings: EdgeSettings, parent: int) -> int:
    """Serve until SIGTERM; the exit code."""
    end_with(parent)
    STARTS.add(STARTS.row())
    # Requests leave no cycles behind, and what is imported stays: look for garbage seldom.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(settings))
    except (SettingsError, AgreementMismatch) as error:
        log.error("cannot run: %s", error)  # noqa: TRY400 - a wrong setting has no traceback
        return EX_CONFIG


def end_with(parent: int) -> None:
    """Have the kernel end this process at its parent's death, however that dies, so that the port is free for another.

    Only Linux can do this. Elsewhere the workers of a parent that was killed have to be ended by hand.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died before the request was made; nobody is left to tell


def room_for_connections() -> int:
    """Raise the limit on open files as far as is needed and allowed; for how many clients that is enough.

    Without it a worker would take in clients until it had no descriptor left for Redis and core.
    """
    needed = MAX_CONNECTIONS + MORE_DESCRIPTORS
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != allowed < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if resource.RLIM_INFINITY != allowed < needed:
        log.warning("%d open files are allowed: at most %d clients", allowed, allowed - MORE_DESCRIPTORS)
        return allowed - MORE_DESCRIPTORS
    return MAX_CONNECTIONS


async def serve(settings: EdgeSettings) -> int:
    """Answer requests until told to stop; the exit code. Raises SettingsError and AgreementMismatch."""
    services = Services(settings)
    await services.spool.open()
    listener = Listener(
        Router(services).dispatch, BODY_LIMITS, Observer(services.spool, settings.log_requests), room_for_connections()
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connected = asyncio.create_task(services.redis.keep_connected())
    draining = asyncio.create_task(drain(services))
    stopped = asyncio.create_task(stop.wait())
    await listener.start(settings.edge_host, settings.edge_port)
    log.info("listening on %s:%d", settings.edge_host, settings.edge_port)
    await asyncio.wait((connected, draining, stopped), return_when=asyncio.FIRST_COMPLETED)
    for task in (connected, draining):
        if task.done():
            task.result()  # raises: there is no other end
    services.is_stopping = True
    if stopped.done():  # whoever sends requests here learns of it from /readyz, and is served until then
        await asyncio.sleep(settings.edge_stop_delay_seconds)
    await listener.drain()
    draining.cancel()
    connected.cancel()
    await services.spool.close()
    await services.core.close()
    log.info("stopped")
    return os.EX_OK
