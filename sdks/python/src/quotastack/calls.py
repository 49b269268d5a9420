"""Requests, before anybody sends them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from quotastack.events import to_json

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_STEPS = ("", ".", "..")


class Call(NamedTuple):
    """One request, to be sent as often as it takes. `is_hot`: the edge answers it, else core."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, Any] | None = None
    key: str | None = None
    is_hot: bool = False
    is_check: bool = False


def get(path: str, *, is_hot: bool = False, is_check: bool = False, **query: Any) -> Call:
    """A GET, without those of the query that are None."""
    return Call("GET", path, query=_given(query), is_hot=is_hot, is_check=is_check)


def post(path: str, key: str | None, *, is_hot: bool = False, **members: Any) -> Call:
    """A POST of a JSON object, without those members that are None."""
    return Call("POST", path, to_json(_given(members)), key=key, is_hot=is_hot)


def path(template: str, *names: str) -> str:
    """The path with names in the places of `{}`, each percent-encoded whole.

    Raises ValueError for a name that would lead elsewhere: HTTP takes `..` for a step up, however it is written.
    """
    for name in names:
        if name in _STEPS:
            raise ValueError(f"{name!r} cannot be a name in a path.")
    return template.format(*[quote(name, safe="") for name in names])


def require_path(path: str) -> None:
    """Raises ValueError unless the path stays on the host: it begins with one slash, and only one."""
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"{path!r} is no path: it begins with exactly one slash.")


def show(number: Decimal | float) -> str:
    """A number as a query has it, without an exponent."""
    return format(Decimal(str(number)).normalize(), "f")


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
