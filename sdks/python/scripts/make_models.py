"""Writes src/quotastack/models.py from ../openapi.json: what the API answers, as far as the client's verbs show it.

`python sdks/python/scripts/make_models.py` writes it anew; a test compares.

Answers of a newer server decode as well: members that are not known are passed over, and what has a fixed set of names
today is a plain string, whose names are listed beside it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "openapi.json"
MODELS = HERE.parent / "src" / "quotastack" / "models.py"

SHOWN = (
    *("CheckAnswer", "CheckBatchAnswer", "Entitlements"),
    *("UsageAccepted", "BatchAccepted"),
    *("ReservationOpened", "ReservationEnded", "ReservationExtended", "Reservation"),
    *("Acquired", "Released"),
    *("CustomerBody", "CreditsBody", "SubscriptionBody", "SubscriptionPage", "ChangePreview", "TopupBody"),
    *("Problem", "Code"),
)
"""What the verbs answer; what that consists of comes with it."""
NAMES = {"rules_lifecycle_State": "SubscriptionState", "BlockBody": "CreditBlock"}
"""Names that the document has for itself only."""
WIDTH = 120
HEAD = '''\
"""What the API answers. Written by scripts/make_models.py from the OpenAPI document: change neither by hand."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

Amount: TypeAlias = int | float
"""Credits or units, with at most six decimals."""
'''
SIMPLE = {"boolean": "bool", "integer": "int", "number": "Amount", "object": "dict[str, Any]", "null": "None"}


def make(document: dict[str, Any]) -> str:
    """The module, before it is formatted."""
    schemas = document["components"]["schemas"]
    names = _in_order(schemas)
    parts = [_enum(name, schemas[name]) for name in names if "enum" in schemas[name]]
    parts += [_struct(name, schemas) for name in names if "enum" not in schemas[name]]
    return HEAD + "\n\n".join(["", *parts])


def _in_order(schemas: dict[str, Any]) -> list[str]:
    """What is shown and all that it refers to, each after what it consists of."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        for inner in _references(schemas[name]):
            visit(inner)
        found.setdefault(name)

    for name in SHOWN:
        visit(name)
    return list(found)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for item in schema.values():
            yield from _references(item)


def _name(name: str) -> str:
    return NAMES.get(name, name.removesuffix("Body"))


def _enum(name: str, schema: dict[str, Any]) -> str:
    """An open set of names; of codes the known ones are a type as well, to be matched with."""
    words = ", ".join(f'"{word}"' for word in schema["enum"])
    if name == "Code":
        return f'Code: TypeAlias = Literal[{words}]\n"""The codes of problem documents that are known today."""'
    text = fill(f"{schema.get('description', '')} Today one of {words.replace(chr(34), '`')}.".strip(), WIDTH)
    return f'{_name(name)}: TypeAlias = str\n"""{text}"""'


def _struct(name: str, schemas: dict[str, Any]) -> str:
    schema = schemas[name]
    required = schema.get("required", [])
    fields = [_field(key, inner, schemas, is_required=key in required) for key, inner in schema["properties"].items()]
    text = schema.get("description", f"{_name(name)}, as the API shows it.")
    lines = "\n\n    ".join(
        fill(" ".join(part.split()), WIDTH - 4, subsequent_indent="    ") for part in text.split("\n\n")
    )
    end = "\n    " if "\n" in lines else ""
    head = f'class {_name(name)}(msgspec.Struct, frozen=True, kw_only=True):\n    """{lines}{end}"""\n'
    return "\n    ".join([head, *fields])


def _field(key: str, schema: dict[str, Any], schemas: dict[str, Any], *, is_required: bool) -> str:
    kind = _type(schema, schemas)
    if is_required:
        return f"{key}: {kind}"
    return f"{key}: {kind if kind == 'Any' or kind.endswith('None') else f'{kind} | None'} = None"


def _type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The annotation of a value. What may have several forms is as it came."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "str" if name == "Code" else _name(name)
    if choices := schema.get("anyOf", schema.get("oneOf")):
        kinds = {_type(choice, schemas): None for choice in choices}
        nullable = kinds.pop("None", kinds) is None
        kind = next(iter(kinds)) if len(kinds) == 1 else "Any"
        return f"{kind} | None" if nullable and kind != "Any" else kind
    match schema:
        case {"type": "string", "format": "date-time"}:
            return "datetime"
        case {"type": "string"} | {"enum": _} | {"const": _}:
            return "str"
        case {"type": "array", "items": items}:
            return f"list[{_type(items, schemas)}]"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"dict[str, {_type(values, schemas)}]"
        case {"type": kind}:
            return SIMPLE[kind]
        case _:
            return "Any"


def formatted(text: str) -> str:
    """In the form of the house."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "models.py", "-"]
    return subprocess.run(command, input=text, text=True, cwd=HERE, capture_output=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    MODELS.write_text(formatted(make(json.loads(DOCUMENT.read_text()))))
