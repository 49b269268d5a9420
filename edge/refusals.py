"""Why a request is not answered as it was asked: one exception, which becomes a problem document."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from app.rules.entitlement import FeatureKind, Reason
from app.wire import complaints
from app.wire.codes import MEANINGS, RETRY_AFTER_SECONDS, Code
from app.wire.complaints import Complaint, in_words
from app.wire.problem import FieldError, problem
from app.wire.redaction import redact_keys

_encoder = msgspec.json.Encoder(decimal_format="number")
_WWW_AUTHENTICATE = b'WWW-Authenticate: Bearer realm="quotastack"\r\n'
_RETRY_AFTER = b"Retry-After: %d\r\n"


class Refusal(Exception):
    """A code with what it means for this request; `headers` are whole lines that the answer carries besides."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        mismatch: Sequence[str] = (),
        context: dict[str, Any] | None = None,
        headers: bytes = b"",
        retry_after_seconds: int = RETRY_AFTER_SECONDS,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.mismatch = list(mismatch)
        self.context = context
        self.headers = headers
        self.retry_after_seconds = retry_after_seconds

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return MEANINGS[self.code].status

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be answered a moment later: a store or a process is not there."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE

    def header_lines(self) -> bytes:
        """What the answer says in its head besides what every answer says."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return self.headers + _WWW_AUTHENTICATE
        if self.is_passing or self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return self.headers + _RETRY_AFTER % self.retry_after_seconds
        return self.headers

    def body(self, instance: str) -> bytes:
        """The problem document; `instance` is the request id, or the event id where the refusal is remembered."""
        document = problem(
            self.code,
            self.detail,
            instance,
            errors=self.errors,
            mismatch=self.mismatch,
            context=self.context,
        )
        return redact_keys(_encoder.encode(document))


def invalid_field(field: str, message: str) -> Refusal:
    """A field that is missing or has the wrong type."""
    return refusal_of(Complaint(Code.INVALID_BODY, field, message))


def invalid_value(field: str, message: str) -> Refusal:
    """A field of the right type whose value cannot be used."""
    return refusal_of(Complaint(Code.INVALID_VALUE, field, message))


def wrong_type(field: str, expected: str, sent: object) -> Refusal:
    """A field of another type than `expected`, which is named as in `app.wire.complaints`."""
    return invalid_field(field, in_words(complaints.wrong_type(expected, sent)))


def refusal_of(complaint: Complaint) -> Refusal:
    """The refusal for what is wrong with a field."""
    return Refusal(complaint.code, complaint.detail, errors=complaint.errors)


def store_unavailable(detail: str) -> Refusal:
    """Redis does not answer. Sending the same request again, with the same idempotency key, is safe."""
    return Refusal(Code.STORE_UNAVAILABLE, detail)


def no_access(reason: Reason, feature_key: str) -> Refusal:
    """A reason is the code of its refusal."""
    details = {
        Reason.UNKNOWN_FEATURE: f"No feature has the key '{feature_key}'.",
        Reason.NO_SUBSCRIPTION: f"The customer has no subscription, and '{feature_key}' has no terms without one.",
        Reason.SUBSCRIPTION_PAUSED: "The customer's subscription is paused.",
        Reason.SUBSCRIPTION_OVERDUE: "The customer's subscription is overdue.",
        Reason.FEATURE_NOT_IN_PLAN: f"The customer's plan does not include '{feature_key}'.",
    }
    return Refusal(Code(reason.value), details[reason])


def wrong_kind(code: Code, feature_key: str, kind: FeatureKind) -> Refusal:
    """The feature is not what this route is for."""
    return Refusal(code, f"'{feature_key}' is a feature of kind '{kind.value}', which this route is not for.")
