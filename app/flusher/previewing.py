"""What an order would do, by the very steps by which the flusher posts it."""

from app.corrections.service import Previewed
from app.flusher.batch import preview_order
from app.io.postgres import Transaction
from app.ledger.book import Account
from app.ledger.targets import Targets
from app.orders.outcomes import Refused
from app.subscriptions.reading import read_courses, read_subscribers
from app.wire.orders import Correction


class Previewer:
    """Previews orders, in the billing zone."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    async def preview(
        self, tx: Transaction, account: Account, order: Correction, targets: Targets, at: int
    ) -> Previewed | Refused:
        """The transaction that the order would be, the next entry of the stream at `at`; changes the account."""
        subscribers = await read_subscribers(tx, [account], [], self._zone)
        targets.courses |= (await read_courses(tx, [account], targets.blocks.values())).courses
        posting = preview_order(account, order, targets, at, subscribers)
        [outcome] = posting.outcomes
        if outcome.refused is not None:
            return outcome.refused
        would_be = posting.transactions[-1]
        return Previewed(would_be.kind, would_be.total_before_micro, would_be.total_after_micro, would_be.lines)
