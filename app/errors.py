"""The one exception of the services. It knows nothing of HTTP; `app.web` makes the answer of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.wire.codes import RETRY_AFTER_SECONDS, Code
from app.wire.complaints import sentence
from app.wire.problem import FieldError


class ServiceError(Exception):
    """What was asked cannot be done.

    `detail` tells the client what they sent, what is wrong with it and what to do. `errors` name fields, `mismatch`
    names what differs from the first request under an idempotency key, `context` is data that the client can act on.
    `retry_after_seconds` is told where the code says that it may go well later.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        mismatch: Sequence[str] = (),
        context: Mapping[str, Any] | None = None,
        retry_after_seconds: int = RETRY_AFTER_SECONDS,
    ) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.mismatch = list(mismatch)
        self.context = dict(context or {})
        self.retry_after_seconds = retry_after_seconds


def invalid_value(field: str, message: str) -> ServiceError:
    """One field has a value of the right type that cannot be used."""
    errors = [FieldError(field, message)]
    return ServiceError(Code.INVALID_VALUE, sentence(errors), errors=errors)
