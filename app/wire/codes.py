"""Every code that a client can see, with its HTTP status and title. Each has its section in docs/errors.md.

A code never changes meaning.
"""

from enum import StrEnum
from typing import NamedTuple


class Meaning(NamedTuple):
    """HTTP status and title of a code."""

    status: int
    title: str


class Code(StrEnum):
    """Stable names of what can go wrong."""

    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_JSON = "malformed_json"
    INVALID_BODY = "invalid_body"
    UNKNOWN_FIELD = "unknown_field"
    UNAUTHENTICATED = "unauthenticated"
    MISSING_SCOPE = "missing_scope"
    SANDBOX_ONLY = "sandbox_only"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_FEATURE = "unknown_feature"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    UNKNOWN_PACKAGE = "unknown_package"
    UNKNOWN_RESERVATION = "unknown_reservation"
    NO_SUBSCRIPTION = "no_subscription"
    SUBSCRIPTION_PAUSED = "subscription_paused"
    SUBSCRIPTION_OVERDUE = "subscription_overdue"
    FEATURE_NOT_IN_PLAN = "feature_not_in_plan"
    LIMIT_REACHED = "limit_reached"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    CONFLICT = "conflict"
    SUBSCRIPTION_EXISTS = "subscription_exists"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    ILLEGAL_MOVE = "illegal_move"
    ACTION_REFUSED = "action_refused"
    PLAN_KIND_DIFFERS = "plan_kind_differs"
    PACKAGE_INACTIVE = "package_inactive"
    PAYMENT_REFERENCE_USED = "payment_reference_used"
    TOO_MANY_BLOCKS = "too_many_blocks"
    TOO_MANY_HOLDERS = "too_many_holders"
    TOO_MANY_ENDPOINTS = "too_many_endpoints"
    TOO_MANY_REPLAYS = "too_many_replays"
    ALREADY_VOIDED = "already_voided"
    NOT_VOIDABLE = "not_voidable"
    GRANT_SPENT = "grant_spent"
    GRANT_EXPIRED = "grant_expired"
    GRANT_MOVED = "grant_moved"
    EVENT_PENDING = "event_pending"
    NOTHING_OWED = "nothing_owed"
    API_KEY_ENDED = "api_key_ended"
    LAST_API_KEY = "last_api_key"
    TOO_MANY_API_KEYS = "too_many_api_keys"
    RESERVATION_ENDED = "reservation_ended"
    TOO_MANY_RESERVATIONS = "too_many_reservations"
    ALREADY_RETRIED = "already_retried"
    NOT_RETRYABLE = "not_retryable"
    TEST_CLOCK_CONFLICT = "test_clock_conflict"
    IDEMPOTENCY_KEY_IN_FLIGHT = "idempotency_key_in_flight"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    BODY_TOO_LARGE = "body_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_UNITS = "invalid_units"
    INVALID_VALUE = "invalid_value"
    FEATURE_NOT_METERED = "feature_not_metered"
    FEATURE_NOT_GAUGE = "feature_not_gauge"
    MEASURE_MISMATCH = "measure_mismatch"
    COST_TOO_LARGE = "cost_too_large"
    BALANCE_OUT_OF_RANGE = "balance_out_of_range"
    BATCH_TOO_LARGE = "batch_too_large"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    TOO_MANY_REQUESTS = "too_many_requests"
    BACKLOG = "backlog"
    ACCOUNT_LOADING = "account_loading"
    ACCOUNT_UNAVAILABLE = "account_unavailable"
    ORDER_PENDING = "order_pending"
    TEST_CLOCK_ADVANCING = "test_clock_advancing"
    STORE_UNAVAILABLE = "store_unavailable"
    EDGE_UNAVAILABLE = "edge_unavailable"
    INTERNAL_ERROR = "internal_error"


MEANINGS: dict[Code, Meaning] = {
    Code.MALFORMED_REQUEST: Meaning(400, "The request is not valid HTTP"),
    Code.MALFORMED_JSON: Meaning(400, "The body is not valid JSON"),
    Code.INVALID_BODY: Meaning(400, "The body does not have the form that this route takes"),
    Code.UNKNOWN_FIELD: Meaning(400, "The body or query has a field that this route does not know"),
    Code.UNAUTHENTICATED: Meaning(401, "The API key is missing, malformed or unknown"),
    Code.LIMIT_REACHED: Meaning(402, "The limit of the feature is reached"),
    Code.INSUFFICIENT_CREDITS: Meaning(402, "Not enough credits"),
    Code.MISSING_SCOPE: Meaning(403, "The API key lacks the scope that this route needs"),
    Code.SANDBOX_ONLY: Meaning(403, "Only sandbox environments have this"),
    Code.NO_SUBSCRIPTION: Meaning(403, "The customer has no subscription that covers this feature"),
    Code.SUBSCRIPTION_PAUSED: Meaning(403, "The customer's subscription is paused"),
    Code.SUBSCRIPTION_OVERDUE: Meaning(403, "The customer's subscription is overdue"),
    Code.FEATURE_NOT_IN_PLAN: Meaning(403, "The customer's plan does not include this feature"),
    Code.NOT_FOUND: Meaning(404, "There is nothing here"),
    Code.UNKNOWN_CUSTOMER: Meaning(404, "No customer has this end_user_id"),
    Code.UNKNOWN_FEATURE: Meaning(404, "No feature has this key"),
    Code.UNKNOWN_EVENT_TYPE: Meaning(404, "No feature reads events of this type"),
    Code.UNKNOWN_PACKAGE: Meaning(404, "No top-up package has this key"),
    Code.UNKNOWN_RESERVATION: Meaning(404, "There is no reservation with this id"),
    Code.METHOD_NOT_ALLOWED: Meaning(405, "This route does not take this method"),
    Code.CONFLICT: Meaning(409, "Something with this key exists already"),
    Code.SUBSCRIPTION_EXISTS: Meaning(409, "The customer has a subscription already"),
    Code.TOO_MANY_SUBSCRIPTIONS: Meaning(409, "The customer has as many subscriptions as one may have"),
    Code.ILLEGAL_MOVE: Meaning(409, "The subscription's state does not allow this"),
    Code.ACTION_REFUSED: Meaning(409, "This cannot be done with the subscription as it stands"),
    Code.PLAN_KIND_DIFFERS: Meaning(409, "A plan and an add-on cannot take each other's place"),
    Code.PACKAGE_INACTIVE: Meaning(409, "The top-up package is not sold any more"),
    Code.PAYMENT_REFERENCE_USED: Meaning(409, "The payment reference was used for something else"),
    Code.TOO_MANY_BLOCKS: Meaning(409, "The customer has as many credit blocks as an account may hold"),
    Code.TOO_MANY_HOLDERS: Meaning(409, "The customer has as many holders of this gauge as there may be"),
    Code.TOO_MANY_ENDPOINTS: Meaning(409, "The environment has as many webhook endpoints as one may have"),
    Code.TOO_MANY_REPLAYS: Meaning(409, "The environment has as many replays under way as there may be"),
    Code.ALREADY_VOIDED: Meaning(409, "This was voided before"),
    Code.NOT_VOIDABLE: Meaning(409, "Only usage events and grants can be voided"),
    Code.GRANT_SPENT: Meaning(409, "Some of the grant is spent"),
    Code.GRANT_EXPIRED: Meaning(409, "The grant has expired"),
    Code.GRANT_MOVED: Meaning(409, "After a pause the grant has gone on as another block"),
    Code.EVENT_PENDING: Meaning(409, "The event is not posted yet"),
    Code.NOTHING_OWED: Meaning(409, "There is no overage that could be billed"),
    Code.API_KEY_ENDED: Meaning(409, "The API key was revoked or has expired"),
    Code.LAST_API_KEY: Meaning(409, "Without this API key nobody could make keys any more"),
    Code.TOO_MANY_API_KEYS: Meaning(409, "The environment has as many API keys as one may have"),
    Code.RESERVATION_ENDED: Meaning(409, "The reservation has ended"),
    Code.TOO_MANY_RESERVATIONS: Meaning(409, "The customer has as many open reservations as one may have"),
    Code.ALREADY_RETRIED: Meaning(409, "The event was retried already, or is posted"),
    Code.NOT_RETRYABLE: Meaning(409, "The rejected entry holds no event that could be posted"),
    Code.TEST_CLOCK_CONFLICT: Meaning(409, "The test clock does not allow this as it stands"),
    Code.IDEMPOTENCY_KEY_IN_FLIGHT: Meaning(409, "A request with this idempotency key is still under way"),
    Code.BODY_TOO_LARGE: Meaning(413, "The body is larger than this route takes"),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(415, "The body must be JSON"),
    Code.IDEMPOTENCY_KEY_REUSED: Meaning(422, "This idempotency key was used for another request"),
    Code.INVALID_UNITS: Meaning(422, "The units are not an amount that can be recorded"),
    Code.INVALID_VALUE: Meaning(422, "A field has a value that cannot be used"),
    Code.FEATURE_NOT_METERED: Meaning(422, "The feature is not metered"),
    Code.FEATURE_NOT_GAUGE: Meaning(422, "The feature is not a gauge"),
    Code.MEASURE_MISMATCH: Meaning(422, "Units were reserved and credits sent, or the other way about"),
    Code.COST_TOO_LARGE: Meaning(422, "The event costs more than one event may"),
    Code.BALANCE_OUT_OF_RANGE: Meaning(422, "The balance would leave the range that can be kept exactly"),
    Code.BATCH_TOO_LARGE: Meaning(422, "The batch has more entries than one request may carry"),
    Code.TIMESTAMP_OUT_OF_RANGE: Meaning(422, "The timestamp lies outside the window that is accepted"),
    Code.TOO_MANY_REQUESTS: Meaning(429, "Too many requests"),
    Code.HEADERS_TOO_LARGE: Meaning(431, "The request line or headers are larger than is taken"),
    Code.INTERNAL_ERROR: Meaning(500, "Something went wrong on our side"),
    Code.BACKLOG: Meaning(503, "More usage is waiting to be posted than may wait"),
    Code.ACCOUNT_LOADING: Meaning(503, "The customer's account is being loaded"),
    Code.ACCOUNT_UNAVAILABLE: Meaning(503, "The customer's account cannot be decided on at this moment"),
    Code.ORDER_PENDING: Meaning(503, "What was ordered is not done yet"),
    Code.TEST_CLOCK_ADVANCING: Meaning(503, "The test clock is on its way"),
    Code.STORE_UNAVAILABLE: Meaning(503, "A store cannot be reached"),
    Code.EDGE_UNAVAILABLE: Meaning(503, "The metering edge cannot be reached"),
}

RETRY_AFTER_SECONDS = 1
"""Sent with every 503 and with a twin in flight."""
