"""What goes wrong, as exceptions: one class for each thing that a caller does something else about.

Decide on the class, or on `code`: a code of docs/errors.md never changes its meaning.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from quotastack.models import Code, FieldError, Problem

UNREACHABLE, UNEXPECTED = "unreachable", "unexpected_answer"
"""Codes of the client itself: nobody answered; what was answered is not the API's."""
IN_FLIGHT = "idempotency_key_in_flight"
REUSED = "idempotency_key_reused"
MAX_SHOWN = 200


class QuotaStackError(Exception):
    """The service said no, or nothing. `status` is None where there was no answer."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: Code | str = UNEXPECTED,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code: Code | str = code
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds, where the answer says when to come again."""
        self.errors: Sequence[FieldError] = ()
        """What is wrong with which field."""
        self.mismatch: Sequence[str] = ()
        """What differs under a reused idempotency key."""
        self.context: Mapping[str, Any] = {}
        """Data to act on: which subscription exists, how a reservation ended."""

    def __str__(self) -> str:
        status = "" if self.status is None else f"{self.status} "
        instance = "" if self.request_id is None else f" ({self.request_id})"
        return f"{status}{self.code}: {self.detail}{instance}"

    @property
    def is_passing(self) -> bool:
        """Whether the same request may go well later: nobody answered, or not now, or somebody in the API's place."""
        if self.status is None or self.code == IN_FLIGHT or is_success(self.status):
            return True
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class InsufficientCreditsError(QuotaStackError):
    """402: the customer cannot pay for it. `context` has `cost` and `balance`."""


class LimitReachedError(QuotaStackError):
    """402: the limit of the feature, or the cap of the gauge, is reached."""


class NotEntitledError(QuotaStackError):
    """403: the customer has no subscription that covers it, or a paused or overdue one."""


class NotFoundError(QuotaStackError):
    """404: no such customer, feature, package or other thing."""


class ConflictError(QuotaStackError):
    """409: it cannot be done as things stand."""


class ValidationError(QuotaStackError):
    """400, 413, 422 and their like: the request is wrong; `errors` says where."""


class AuthenticationError(QuotaStackError):
    """401, or 403 for want of a scope: it is about the API key."""


class RateLimitedError(QuotaStackError):
    """429, after all attempts."""


class UnavailableError(QuotaStackError):
    """5xx, or an answer that is none of the API's, after all attempts."""


class UnreachableError(QuotaStackError, ConnectionError):
    """No answer, after all attempts. Nobody knows whether the request arrived; the same again is safe."""


class SpoolFullError(Exception):
    """Usage could not be delivered, and the spool holds as much as it may. The event is **not** recorded."""


class SpoolBrokenError(Exception):
    """Usage could not be delivered, and the disk does not take it either. The event is **not** recorded."""


class ClientClosedError(RuntimeError):
    """The client was closed before: it sends nothing any more, and keeps nothing."""


class WebhookVerificationError(ValueError):
    """What came is no webhook that was signed with one of the secrets, just now."""


class ConfigurationError(ValueError):
    """The client cannot be made so."""


_BY_CODE: Mapping[str, type[QuotaStackError]] = {
    "insufficient_credits": InsufficientCreditsError,
    "limit_reached": LimitReachedError,
    "no_subscription": NotEntitledError,
    "subscription_paused": NotEntitledError,
    "subscription_overdue": NotEntitledError,
    "feature_not_in_plan": NotEntitledError,
    "missing_scope": AuthenticationError,
    "sandbox_only": AuthenticationError,
}
_BY_STATUS: Mapping[int, type[QuotaStackError]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.PAYMENT_REQUIRED: InsufficientCreditsError,
    HTTPStatus.FORBIDDEN: NotEntitledError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}
_SAID_BY_ANYBODY = frozenset({HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN})
"""Where it is not the API that says so, it is not about what the customer may."""


def is_success(status: int) -> bool:
    """Whether the status says that it went well."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def error_of(status: int, body: bytes, request_id: str | None, retry_after: float | None) -> QuotaStackError:
    """The exception for an answer that is no success; it need not come from the service itself."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        shown = body[:MAX_SHOWN].decode(errors="replace")
        detail = f"The answer is no problem document of the API: {shown}"
        return unexpected(status, detail, request_id, retry_after)
    error = _kind(status, problem.code)(
        problem.detail, status=status, code=problem.code, request_id=problem.instance, retry_after=retry_after
    )
    error.errors, error.mismatch = problem.errors or (), problem.mismatch or ()
    error.context = problem.context or {}
    return error


def unexpected(status: int, detail: str, request_id: str | None, retry_after: float | None) -> QuotaStackError:
    """The exception for an answer that is not the API's, be it that it says that all went well."""
    return _kind(status, UNEXPECTED)(detail, status=status, request_id=request_id, retry_after=retry_after)


def _kind(status: int, code: str) -> type[QuotaStackError]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or is_success(status):
        return UnavailableError
    if status < HTTPStatus.BAD_REQUEST or (code == UNEXPECTED and status in _SAID_BY_ANYBODY):
        return QuotaStackError
    return _BY_CODE.get(code) or _BY_STATUS.get(status, ValidationError)
