"""What a child process does between fork and exec: become another user, and tie its life to its parent's.

Both are Linux system calls that Python does not wrap. Elsewhere a child is not tied: whatever a killed parent left
behind is ended by the next start on the same directory (`processes.end_leftovers`).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from signal import Signals
from typing import Final

from app.embedded.errors import EmbeddedError
from app.embedded.identity import Identity

# From linux/prctl.h and linux/capability.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECUREBITS: Final = 28
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION: Final = 0x20080522
_CAP_DAC_OVERRIDE: Final = 1

_ON_LINUX: Final = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)


def before_exec(end_signal: Signals, identity: Identity | None = None) -> Callable[[], None]:
    """Make the `preexec_fn` of a child that becomes `identity` and gets `end_signal` when we die, however we die.

    The kernel means the thread that forked, so only the main thread may start such a child. Raises EmbeddedError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EmbeddedError("Start servers and roles from the main thread: they end with the thread that started them.")
    if identity is not None and not _ON_LINUX:
        raise EmbeddedError("Postgres refuses to run as root. Run as an ordinary user, or set DATABASE_URL.")
    parent = os.getpid()

    def prepare() -> None:
        if identity is not None:
            _become(identity)
        if _ON_LINUX:
            _end_with(parent, end_signal)

    return prepare


def _become(identity: Identity) -> None:
    """Turn root into `identity`, keeping of root's power only the way past closed directories.

    `var/` is private to root, and so may be the home in which the environment lies: without CAP_DAC_OVERRIDE the server
    could reach neither its data nor its own executable, and opening those directories is not ours to do. The secure bit
    makes access(2), by which Postgres looks for its own programs, count that capability for a user who is not root.
    """
    _check(_libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setresgid(identity.group_id, identity.group_id, identity.group_id)
    os.setresuid(identity.user_id, identity.user_id, identity.user_id)
    kept = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    _check(_libc.capset(header, effective_permitted_inheritable))
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _end_with(parent: int, end_signal: Signals) -> None:
    """Ask the kernel for `end_signal` at the parent's death. After `_become`: a change of user clears the request."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(end_signal), 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)  # it died before the request was made; nobody is left to tell


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
