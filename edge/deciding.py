"""What usage and reservations have in common: a script decides on them, at the price that holds when it does.

The edge prices with the plan that the customer is believed to have, at its own time or where the customer's test clock
is believed to stand, and says so; where the account has another plan, its clock stands elsewhere, or another price
holds by its clock, the script answers which, and the edge prices again. A refusal that rests on plan, price or time is
given only where those are the right ones.
"""

from app.rules.entitlement import FeatureKind, OveragePolicy, Reason, lowest_balance
from app.rules.moments import NEVER_AT
from app.wire.codes import Code
from app.wire.snapshot import FeatureTerms
from edge.accounts import Account
from edge.attempt import Attempt
from edge.charging import Charge, Offer
from edge.redis_link import Reply
from edge.refusals import Refusal, no_access, wrong_kind
from edge.services import Services

FLOOR_OF_ACCOUNT = b""
NO_FLOOR = b"-"
"""The lowest balance that may be left, as scripts are told it."""
UNCOUNTED = (b"", b"", b"", b"", b"")
"""In place of what `counting` answers."""
STANDING = (b"snapshot", b"last_at", b"valid_until", b"frozen")
"""Fields of an account that say whether a refusal is right that rests on plan or price."""


class Deciding(Attempt):
    """One question that a script decides."""

    __slots__ = ("_as_of", "_at", "_until_at")

    def __init__(self, services: Services, account: Account) -> None:
        super().__init__(services, account)
        self._at = 0
        """The account's clock, where that was found to be ahead of ours when a price changed."""
        self._as_of = 0
        """The moment as of which it was asked last."""
        self._until_at = NEVER_AT
        """Until when the price holds that was chosen."""

    def as_of(self, now_at: int) -> int:
        """The moment as of which it is priced and dated, where it is `now_at`; no price is chosen yet."""
        self._until_at = NEVER_AT
        self._as_of = max(now_at, self._at)
        return self._as_of

    def counting(self, offer: Offer, charge: Charge, feature_key: str) -> tuple[bytes | int, ...]:
        """What scripts are told beside a cost: tiers, until when the price holds, feature key, units, hard limit.

        Raises Refusal.
        """
        self._until_at = charge.until_at
        until = b"" if charge.until_at == NEVER_AT else charge.until_at
        if not offer.is_counted:
            return (b"", until, b"", b"", b"")
        limit = b"" if offer.terms.limit_units_micro is None else offer.terms.limit_units_micro
        return (charge.tiers(), until, feature_key.encode(), charge.units_micro, limit)

    def obstacle(self, reply: Reply) -> None:
        """What every script that decides answers where it decided nothing. Raises UnexpectedReply."""
        match reply:
            case [b"snapshot", snapshot_id]:
                self.believe(snapshot_id)
            case [b"frozen", at]:
                self.account.frozen_at = int(at)
                self._price_as_of(0)
            case [b"reprice", at]:
                self._price_as_of(int(at))
            case _:
                super().obstacle(reply)

    def refuse_where_right(self, refusal: Refusal, snapshot_id: bytes, standing: Reply) -> None:
        """Refuse where plan and price were the right ones; `standing` are the account's STANDING fields."""
        snapshot, last_at, valid_until, frozen = standing
        at = self.account_at(last_at, valid_until, frozen)
        if at is None or not self.is_on(snapshot_id, snapshot):
            return
        if frozen is not None and not int(frozen) <= self._as_of <= at:
            self._price_as_of(0)
        elif at >= self._until_at:
            self._price_as_of(at)
        else:
            self.refused(refusal)

    def _price_as_of(self, at: int) -> None:
        """Another price may hold by the account's clock; `at` where that is ahead of what was taken to be the time."""
        self._at = at
        self.patience.detour()
        self.send()


def floor_of(terms: FeatureTerms) -> bytes:
    """The lowest balance that may be left, as scripts are told it."""
    if terms.overage_policy is OveragePolicy.BLOCK:
        return FLOOR_OF_ACCOUNT
    lowest = lowest_balance(0, terms.overage_policy, terms.overage_limit_micro)
    return NO_FLOOR if lowest is None else b"%d" % lowest


def after_the_spool() -> Refusal:
    """Nothing is decided before earlier usage of the customer that this worker has spooled."""
    detail = "Earlier usage of this customer was spooled and is not taken in yet; try again."
    return Refusal(Code.ACCOUNT_UNAVAILABLE, detail)


def offered(offer: Offer | None, feature_key: str, *, strictly: bool) -> Offer:
    """A metered feature with a price; where it is asked for strictly, one that may be used. Raises Refusal."""
    if offer is None:
        raise no_access(Reason.UNKNOWN_FEATURE, feature_key)
    if offer.terms.kind is not FeatureKind.METERED:
        raise wrong_kind(Code.FEATURE_NOT_METERED, feature_key, offer.terms.kind)
    if strictly and offer.refusal is not None:
        raise no_access(offer.refusal, feature_key)
    if not offer.terms.rates:
        is_without = offer.refusal is Reason.NO_SUBSCRIPTION
        raise no_access(Reason.NO_SUBSCRIPTION if is_without else Reason.FEATURE_NOT_IN_PLAN, feature_key)
    return offer
