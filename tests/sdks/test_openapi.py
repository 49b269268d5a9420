"""The OpenAPI document that the SDKs are made from is the one that core serves.

`pytest tests/sdks/test_openapi.py --write-golden` writes sdks/openapi.json anew.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.io.clock import Clock
from app.main import Parts, describe
from app.settings import CoreSettings, read
from app.wire.codes import Code
from tests.flow.stack import SECRETS
from tests.golden.kept import compare

NOWHERE = {"REDIS_URL": "redis://nowhere", "CORE_DATABASE_URL": "postgres://nowhere"}


@pytest.fixture(scope="module")
def document() -> bytes:
    """What core serves at /schema; making it takes no server."""
    nobody: Any = None
    return describe(Parts(read(CoreSettings, NOWHERE | SECRETS), Clock(), nobody, nobody, nobody, nobody)).content()


def test_the_kept_document_is_the_served_one(document: bytes, repository: Path, request: pytest.FixtureRequest) -> None:
    """Byte for byte, but for the line breaks."""
    made = msgspec.json.format(document, indent=2).decode() + "\n"
    compare(made, repository / "sdks" / "openapi.json", request)


def test_it_names_every_code(document: bytes) -> None:
    """So that a client can be made that knows them all."""
    schemas = msgspec.json.decode(document)["components"]["schemas"]
    assert schemas["Problem"]["properties"]["code"] == {"$ref": "#/components/schemas/Code"}
    assert schemas["Code"]["enum"] == sorted(Code)
