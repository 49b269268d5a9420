"""What an order would do, by the very steps by which the flusher posts it."""

from app.corrections.deciding import Refused
from app.corrections.service import Previewed
from app.flusher.batch import preview_order
from app.ledger.book import Account
from app.ledger.targets import Targets
from app.wire.orders import Order


def preview(account: Account, order: Order, targets: Targets, at: int) -> Previewed | Refused:
    """The transaction that the order would be, the next entry of the account's stream at `at`; changes the account."""
    posting = preview_order(account, order, targets, at)
    [outcome] = posting.outcomes
    if outcome.refused is not None:
        return outcome.refused
    would_be = posting.transactions[-1]
    return Previewed(would_be.kind, would_be.total_before_micro, would_be.total_after_micro, would_be.lines)
