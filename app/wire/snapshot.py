"""What the ledger tells the edge: the account's figures, the plan snapshot that they name, the API key's record."""

from hashlib import sha256
from uuid import UUID

import msgspec

from app.rules.entitlement import Access, FeatureKind, OveragePolicy, Standing
from app.rules.pricing import GraduatedPrice, Rate

ACCOUNT_FIELDS = (
    b"revision",
    b"base",
    b"applied",
    b"accepted",
    b"last_at",
    b"valid_until",
    b"snapshot",
    b"status",
    b"floor",
    b"reserved",
    b"frozen",
)
"""What a check reads of the account hash, in this order (`AccountView`).

Without `reserved` nothing is; without `frozen` the account is on no test clock.

Scripts keep `last_id` and `ticked` beside them.
"""


class Beside(msgspec.Struct, frozen=True, array_like=True):
    """What an account has beside its credit; nobody decides what it may spend by this."""

    reserved_micro: int = 0
    """Of all open reservations, for showing."""
    open_reservations: int = 0
    period_at: int = 0
    """Start of the period in which units are counted; 0 = nothing of this customer is counted."""
    used: list[tuple[str, int]] = []
    """(feature, micro-units) used and reserved in that period."""
    resets_at: int = 0
    """Where that period ends."""


NOTHING_BESIDE = Beside()


class AccountState(msgspec.Struct, frozen=True):
    """What is published of an account: all figures as the ledger knows them at `revision`."""

    ref: bytes
    revision: int
    base_micro: int
    applied_micro: int
    valid_until: int
    posted_at: int
    """No decision may be dated before this: what the ledger did by then counts for it, and the period has begun."""
    snapshot_id: str
    subscription_status: str
    floor_micro: int = 0
    beside: Beside = NOTHING_BESIDE
    frozen_at: int | None = None
    """Where the test clock of its environment stands; None = it has none. Only a load brings it: see set_clock.lua."""


def pack_beside(beside: Beside) -> bytes:
    """As scripts are given it; nothing for nothing, which costs them nothing."""
    return b"" if beside == NOTHING_BESIDE else _beside_encoder.encode(beside)


class FeatureTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a customer on this composition may do with one feature, and what it costs."""

    rates: list[Rate]
    """In order of precedence, with the versions that are in force and those to come; empty = it has no price."""
    included: bool
    """In the plan; without a subscription: usable at the feature's default price."""
    overage_policy: OveragePolicy = OveragePolicy.BLOCK
    limit_units_micro: int | None = None
    """Hard limit of the units of one period; None = none."""
    overage_limit_micro: int | None = None
    """How far below zero the account may go where overage is allowed; None = any far."""
    kind: FeatureKind = FeatureKind.METERED
    value: str | None = None
    """Of a feature that is not metered, as JSON: true or false, anything, a cap (null = none). None: no value."""

    @property
    def is_counted(self) -> bool:
        """Whether units are counted by period: for a limit, or since a graduated price needs to know what was used."""
        if self.limit_units_micro is not None:
            return True
        versions = (version for rate in self.rates for version in rate.versions)
        return any(isinstance(version.price, GraduatedPrice) for version in versions)


class PlanSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base plan, overrides and defaults composed: every feature of the environment by key. Never changed."""

    environment_id: UUID
    subscribed: bool
    features: dict[str, FeatureTerms]
    event_types: dict[str, dict[str, str | None]] = {}
    """By type of a CloudEvent, then by feature that reads it: the member of `data` with the units; None: the usual."""
    standing: Standing = Standing.OK
    """So that every refusal but those for want of room or credit follows from the snapshot alone."""

    @property
    def counts(self) -> bool:
        """Whether units of any feature are counted by period."""
        return any(terms.is_counted for terms in self.features.values())

    def access(self, feature_key: str) -> Access | None:
        """The feature as `rules.entitlement` wants it; None where the environment has no such feature."""
        terms = self.features.get(feature_key)
        if terms is None:
            return None
        is_metered = terms.kind is FeatureKind.METERED
        return Access(
            has_terms=bool(terms.rates) if is_metered else terms.value is not None,
            is_off=terms.kind is FeatureKind.BOOLEAN and terms.value == "false",
            included=terms.included,
            subscribed=self.subscribed,
            standing=self.standing,
        )


class ApiKeyRecord(msgspec.Struct, frozen=True):
    """What the edge has to know of an API key."""

    key_id: UUID
    environment_id: UUID
    environment_kind: str
    scopes: frozenset[str]
    expires_at: int | None = None
    """Microseconds since the epoch."""


_beside_encoder = msgspec.msgpack.Encoder()
_encoder = msgspec.json.Encoder(order="deterministic")
_plan_decoder = msgspec.json.Decoder(PlanSnapshot)
_key_decoder = msgspec.json.Decoder(ApiKeyRecord)


def encode_plan(snapshot: PlanSnapshot) -> tuple[str, bytes]:
    """(snapshot id, content): the id is a digest of the content, so equal compositions share one snapshot."""
    content = _encoder.encode(snapshot)
    return sha256(content).hexdigest()[:22], content


def decode_plan(content: bytes) -> PlanSnapshot:
    """The snapshot behind its content."""
    return _plan_decoder.decode(content)


def encode_api_key(record: ApiKeyRecord) -> bytes:
    """The record as Redis holds it."""
    return _encoder.encode(record)


def decode_api_key(content: bytes) -> ApiKeyRecord:
    """The record behind what Redis holds."""
    return _key_decoder.decode(content)
