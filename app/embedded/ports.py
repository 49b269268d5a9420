"""Whether the addresses we are to listen on are free, asked before anything is started."""

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from app.embedded.environment import Listener
from app.embedded.errors import EmbeddedError


def require_free(listeners: Iterable[Listener]) -> None:
    """Bind every address for a moment, all together, so that two of our own that are the same are found as well.

    Raises EmbeddedError naming the variable to change.
    """
    with ExitStack() as held:
        for listener in listeners:
            _bind(held, listener)


def _bind(held: ExitStack, listener: Listener) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        probe = held.enter_context(socket.socket(family, kind, protocol))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT takes no port
        probe.bind(address)
        probe.listen(1)  # on Linux two sockets may share a bound port with SO_REUSEADDR, but not a listening one
    except OSError as error:
        raise EmbeddedError(_reason(listener, error)) from error


def _reason(listener: Listener, error: OSError) -> str:
    where = f"{listener.host}:{listener.port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {listener.port} on {listener.host} is taken: set {listener.port_variable} to a free one."
    return f"Cannot listen on {where} ({error.strerror}): set {listener.host_variable} or {listener.port_variable}."
