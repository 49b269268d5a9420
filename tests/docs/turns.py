"""Runs a page's Python as one program that waits where a block begins. Started by tests/docs/reader.py."""

import builtins
import os
import runpy
import sys
from itertools import count

_in, _out = (int(os.environ.pop(name)) for name in ("TURN_IN", "TURN_OUT"))
_numbers = count()


def _turn() -> None:
    """Say that what was before is done, unless nothing was, and wait for the word to go on."""
    sys.stdout.flush()
    if next(_numbers):
        os.write(_out, b"\n")
    os.read(_in, 1)


setattr(builtins, "_turn", _turn)  # noqa: B010 - a name that no type checker knows
runpy.run_path(sys.argv[1], run_name="__main__")
