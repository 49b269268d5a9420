"""Word of credit that becomes low, runs out, or turns into debt, while a batch is posted to an account."""

import msgspec

from app.environments.schemas import ThresholdBody, show_threshold
from app.flusher.posting import Posting
from app.ledger.book import Account
from app.rules.thresholds import Crossing, Depleted, Holding, Low, Overdrawn, crossings, granted_in, room_micro
from app.trail.outbox import Announcement, EventType
from app.web.amounts import Credits
from app.wire.ids import derived_id


class CreditsLow(msgspec.Struct, frozen=True):
    """What a webhook says of `credits.low`: `level` is where the threshold lies, in credits."""

    end_user_id: str
    total: Credits
    threshold: ThresholdBody
    level: Credits


class CreditsDepleted(msgspec.Struct, frozen=True):
    """What a webhook says of `credits.depleted`."""

    end_user_id: str
    total: Credits


class UsageOverage(msgspec.Struct, frozen=True):
    """What a webhook says of `usage.overage`."""

    end_user_id: str
    total: Credits
    debt: Credits


class Watch:
    """Compares what an account holds with what it held when it was looked at last."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._before = _holding_of(account, 0)

    def room_micro(self) -> int:
        """How much may be spent before somebody has to look again; see `rules.thresholds.room_micro`."""
        return room_micro(self._account.thresholds, self._before)

    def look(self, posting: Posting, at: int, unposted_micro: int, cause: bytes) -> None:
        """Tell what has become true since. `cause` names what changed the account, for ever."""
        account, before = self._account, self._before
        after = self._before = _holding_of(account, unposted_micro)
        for crossing in crossings(account.thresholds, before, after):
            event_type, data = _tell(account.end_user_id, crossing, after)
            of_whom = account.environment_id.hex.encode(), account.id.hex.encode()
            crossed = crossing.threshold if isinstance(crossing, Low) else None
            event_id = derived_id(event_type.encode(), *of_whom, cause, msgspec.json.encode(crossed))
            posting.announcements.append(
                Announcement(account.environment_id, event_id, event_type, account.end_user_id, data, at)
            )


def _holding_of(account: Account, unposted_micro: int) -> Holding:
    return Holding(account.total_micro - unposted_micro, granted_in(account.blocks), account.debt_micro)


def _tell(end_user_id: str, crossing: Crossing, holding: Holding) -> tuple[EventType, msgspec.Struct]:
    total = Credits(holding.total_micro)
    match crossing:
        case Low(threshold, level_micro):
            told = CreditsLow(end_user_id, total, show_threshold(threshold), Credits(level_micro))
            return EventType.CREDITS_LOW, told
        case Depleted():
            return EventType.CREDITS_DEPLETED, CreditsDepleted(end_user_id, total)
        case Overdrawn():
            return EventType.USAGE_OVERAGE, UsageOverage(end_user_id, total, Credits(holding.debt_micro))
