"""Members that come twice in an object of JSON: one reader takes the first, another the last.

Neither says so. Whoever stands before us might have looked at the one, and we would do the other.
"""

from json import JSONDecoder


class _Repeated(Exception):
    """Its argument is the name."""


def repeated_member(body: bytes) -> str | None:
    """A name that comes twice in one object, at whatever depth; None where none does.

    `body` is JSON that was read before. Raises RecursionError where it is nested more deeply than can be looked at.
    """
    try:
        _decoder.decode(body.decode())
    except _Repeated as repeated:
        return repeated.args[0]
    return None


def outer_members(body: bytes) -> list[str]:
    """The names of the outermost object as they come, those that come twice too. `body` is one, and was read before."""
    return _outer.decode(body.decode())


def _once(pairs: list[tuple[str, None]]) -> None:
    """Look at one object; nothing is made of it."""
    if len(dict(pairs)) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise _Repeated(name)
            seen.add(name)


def _number(_text: str) -> None:
    """Numbers are not looked at, however long they are."""


def _names(pairs: list[tuple[str, object]]) -> list[str]:
    """The last object that is closed is the outermost."""
    return [name for name, _ in pairs]


_outer = JSONDecoder(object_pairs_hook=_names, parse_int=_number, parse_float=_number)
_decoder = JSONDecoder(object_pairs_hook=_once, parse_int=_number, parse_float=_number)
