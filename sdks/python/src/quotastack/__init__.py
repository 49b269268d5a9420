"""The client of QuotaStack: `QuotaStack` for threads, `AsyncQuotaStack` for event loops, with the same verbs.

client = QuotaStack()  # QUOTASTACK_KEY, QUOTASTACK_URL
check = client.check_entitlement("user_123", "ai_request")
if check.allowed:
...
client.record_usage("user_123", feature_key="ai_request", units=1, idempotency_key=request_id)
"""

from quotastack import models
from quotastack._async.checks import Check
from quotastack._async.client import AsyncQuotaStack
from quotastack._async.reservations import AsyncReservation
from quotastack._sync.client import QuotaStack
from quotastack._sync.reservations import Reservation
from quotastack.answers import (
    BatchItem,
    CustomerState,
    EntitlementCheck,
    FlushReport,
    RejectedEvent,
    UsageRecorded,
    WebhookEvent,
)
from quotastack.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    InsufficientCreditsError,
    LimitReachedError,
    NotEntitledError,
    NotFoundError,
    QuotaStackError,
    RateLimitedError,
    SpoolBrokenError,
    SpoolFullError,
    UnavailableError,
    UnreachableError,
    ValidationError,
    WebhookVerificationError,
)
from quotastack.events import UsageEvent
from quotastack.fallback import Cached, FailMode, cached
from quotastack.token_usage import TokenPools, token_usage, usage_events
from quotastack.webhooks import verify_webhook

__all__ = [
    "AsyncQuotaStack",
    "AsyncReservation",
    "AuthenticationError",
    "BatchItem",
    "Cached",
    "Check",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "CustomerState",
    "EntitlementCheck",
    "FailMode",
    "FlushReport",
    "InsufficientCreditsError",
    "LimitReachedError",
    "NotEntitledError",
    "NotFoundError",
    "QuotaStack",
    "QuotaStackError",
    "RateLimitedError",
    "RejectedEvent",
    "Reservation",
    "SpoolBrokenError",
    "SpoolFullError",
    "TokenPools",
    "UnavailableError",
    "UnreachableError",
    "UsageEvent",
    "UsageRecorded",
    "ValidationError",
    "WebhookEvent",
    "WebhookVerificationError",
    "cached",
    "models",
    "token_usage",
    "usage_events",
    "verify_webhook",
]
