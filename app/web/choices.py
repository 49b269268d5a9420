"""Which values there are, where one was sent that is none of them."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

_NO_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<sent>.*)", re.DOTALL)
_STEP = re.compile(r"\.?(?P<member>[^.\[\]]+)|\[(?P<place>[^\]]*)\]")


def explain(message: str, kind: Any, path: str = "") -> str:  # noqa: ANN401 - whatever msgspec can decode
    """What msgspec says is wrong with the value at a path in a `kind`; of one that is not among several which they are.

    A path is as msgspec writes it, without its beginning: `grants[0].interval`.
    """
    matched = _NO_CHOICE.fullmatch(message)
    if matched is None:
        return message
    kinds = [inspect.type_info(kind)]
    for step in _STEP.finditer(path):
        kinds = [below for each in kinds for below in _below(each, step["member"])]
    choices = dict.fromkeys(choice for each in kinds for choice in _choices(each))
    return f"must be one of {', '.join(choices)}, not {matched['sent']}" if choices else message


def _below(kind: inspect.Type, member: str | None) -> Iterator[inspect.Type]:
    """What may stand one step below: in a member, or in a place of a list."""
    match kind:
        case inspect.UnionType():
            for each in kind.types:
                yield from _below(each, member)
        case inspect.Metadata():
            yield from _below(kind.type, member)
        case inspect.StructType() if member is not None:
            yield from (field.type for field in kind.fields if field.encode_name == member)
            if member == kind.tag_field and kind.tag is not None:
                yield inspect.LiteralType((kind.tag,))
        case inspect.ListType():
            yield kind.item_type
        case inspect.DictType():
            yield kind.value_type
        case _:
            return


def _choices(kind: inspect.Type) -> Iterator[str]:
    match kind:
        case inspect.UnionType():
            for each in kind.types:
                yield from _choices(each)
        case inspect.Metadata():
            yield from _choices(kind.type)
        case inspect.EnumType():
            yield from (str(each.value) for each in kind.cls)
        case inspect.LiteralType():
            yield from map(str, kind.values)
        case _:
            return
