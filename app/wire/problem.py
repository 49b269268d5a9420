"""Problem documents (RFC 9457): what every answer that is not 2xx looks like."""

from typing import Any

import msgspec

from app.wire.codes import MEANINGS, Code

CONTENT_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is a JSON path such as `events[3].units`."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Members of RFC 9457, plus `code` and, for validation, `errors`; `mismatch` for a reused idempotency key."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: Code
    errors: list[FieldError] = []
    mismatch: list[str] = []
    context: dict[str, Any] = {}


def problem(
    code: Code,
    detail: str,
    request_id: str,
    *,
    errors: list[FieldError] | None = None,
    mismatch: list[str] | None = None,
    context: dict[str, Any] | None = None,
) -> Problem:
    """The document for `code`; status, title and type follow from it."""
    meaning = MEANINGS[code]
    return Problem(
        f"/docs/errors#{code.value}",
        meaning.title,
        meaning.status,
        detail,
        request_id,
        code,
        errors or [],
        mismatch or [],
        context or {},
    )
