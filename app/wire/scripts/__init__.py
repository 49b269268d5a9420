"""The scripts that run inside Redis, as text. Each file's header declares its keys, its arguments and its answers.

A script is named by the digest of its text (`EVALSHA`), so processes of two releases can run side by side.
"""

from hashlib import sha1
from importlib.resources import files

import msgspec


class Script(msgspec.Struct, frozen=True):
    """One script: the whole text that Redis is given, and the digest that calls it."""

    name: str
    text: bytes
    digest: bytes


def _read(*names: str) -> Script:
    """The script that is named last, behind those whose functions it uses."""
    folder, name = files(__name__), names[-1]
    text = b"\n".join((folder / f"{part}.lua").read_bytes() for part in ("common", *names))
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode())


ACCEPT = _read("accept")
TICK = _read("tick")
SET_CLOCK = _read("set_clock")
ORDER = _read("order")
PUBLISH = _read("publish")
LOAD_BEGIN = _read("load_begin")
LOAD = _read("gauges", "load")
NOTE_PUBLISHED = _read("note_published")
RETRY = _read("retry")
ADMIT = _read("admit")
ACQUIRE = _read("gauges", "acquire")
RELEASE = _read("gauges", "release")
LOOK = _read("gauges", "look")
RESERVE = _read("reserve")
END_RESERVATION = _read("end_reservation")
EXTEND_RESERVATION = _read("extend_reservation")
RESTORE_RESERVATION = _read("restore_reservation")
RESERVATIONS = (RESERVE, END_RESERVATION, EXTEND_RESERVATION, RESTORE_RESERVATION)
GAUGES = (ACQUIRE, RELEASE, LOOK)
ALL = (ACCEPT, TICK, SET_CLOCK, ORDER, PUBLISH, LOAD_BEGIN, LOAD, NOTE_PUBLISHED, RETRY, ADMIT, *RESERVATIONS, *GAUGES)
