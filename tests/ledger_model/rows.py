"""What Postgres keeps, in dictionaries: a call of `post` is one transaction around the real `post_batch`.

As there, a batch begins with what the rows say and leaves in them what the posting names, and nothing else: a change
that the posting forgets to name is lost. `targets` are read as `corrections.store.read_targets` reads them.
"""

from collections import Counter
from uuid import UUID

from msgspec import structs

from app.flusher.batch import post_batch
from app.flusher.posting import Posting
from app.ledger.book import Account, Origin, PostedEvent, Reservation, Transaction, block_account
from app.ledger.targets import Targets
from app.orders.outcomes import Outcome, target_of
from app.rules import burndown, chain
from app.rules.boundaries import next_boundary
from app.rules.burndown import Block
from app.wire import keys
from app.wire.events import StreamEntry
from app.wire.ids import derived_id
from app.wire.orders import Order
from app.wire.snapshot import AccountState

ENVIRONMENT = UUID(int=14)
CORE = Origin("core")
SNAPSHOT = "s1"


def ref_of(who: str) -> bytes:
    """The customer's ref in the stream."""
    return keys.account_ref(keys.environment_ref(ENVIRONMENT), who)


class Rows:
    """The tables that a posting reads and writes."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, Account] = {}
        """Without their blocks."""
        self.blocks: dict[UUID, tuple[UUID, Block]] = {}
        """(account, block)."""
        self.names: dict[UUID, str] = {}
        """Of blocks."""
        self.transactions: list[Transaction] = []
        self.events: dict[UUID, PostedEvent] = {}
        self.outcomes: dict[UUID, Outcome] = {}
        self.reservations: dict[UUID, Reservation] = {}

    # ---- core

    def open(self, who: str) -> None:
        """A new account, with nothing."""
        account_id = derived_id(b"account", who.encode())
        self.accounts[ref_of(who)] = Account(
            ENVIRONMENT, account_id, who, 1, 0, 0, 0, 0, 0, chain.GENESIS, SNAPSHOT, "none", []
        )

    def grant(self, who: str, name: str, block: Block, source: str) -> None:
        """Core posts a grant; the account's revision rises to the block's."""
        account = self.accounts[ref_of(who)]
        self._insert_block(account, structs.replace(block), name)
        lines = [(block_account(block.id), block.remaining_micro), (f"issued:{source}", -block.remaining_micro)]
        self.transactions.append(account.post("grant", lines, block.granted_at, CORE))
        account.revision = max(account.revision, block.known_revision)

    def _insert_block(self, account: Account, block: Block, name: str) -> None:
        assert block.id not in self.blocks
        block.granted_micro = block.remaining_micro
        self.blocks[block.id] = account.id, block
        self.names[block.id] = name

    # ---- the flusher

    def post(self, entries: list[StreamEntry]) -> None:
        """One batch. As the writer does, first as if the ledger had none of its events, and anew where it has one.

        Where there are orders, the ledger is asked beforehand; of reservations it is always asked.
        """
        known = {(ENVIRONMENT, e.payload.event_id) for e in entries if e.payload and e.payload.event_id in self.events}
        named = {e.reservation.reservation_id for e in entries if e.reservation}
        committed = {(ENVIRONMENT, one) for one in named & self.events.keys()}
        posting = self._decide(entries, committed | (known if any(entry.order for entry in entries) else set()))
        self._write(self._decide(entries, known | committed) if known else posting)

    def _decide(self, entries: list[StreamEntry], known: set[tuple[UUID, UUID]]) -> Posting:
        accounts = {entry.ref: self.read(entry.ref) for entry in entries}
        orders = [(accounts[entry.ref], entry.order) for entry in entries if entry.order is not None]
        named = {entry.reservation.reservation_id for entry in entries if entry.reservation}
        held = [self.reservations[one] for one in named & self.reservations.keys()]
        return post_batch(accounts, list(entries), known, self._targets(orders, held) if orders or held else None)

    def read(self, ref: bytes) -> Account:
        """A working copy with the live blocks."""
        account = self.accounts[ref]
        own = [structs.replace(block) for owner, block in self.blocks.values() if owner == account.id]
        return structs.replace(account, blocks=burndown.sort_blocks(block for block in own if block.remaining_micro))

    def _targets(self, orders: list[tuple[Account, Order]], held: list[Reservation]) -> Targets:
        """What the rows have of what these orders and reservations speak of."""
        targets = Targets(known={order.order_id for _, order in orders} & self.outcomes.keys())
        targets.reservations = {reservation.id: reservation for reservation in held}
        accounts = {account.id for account, order in orders if order.order_id not in targets.known}
        accounts |= {reservation.account_id for reservation in held}
        wanted = [target_of(order) for _, order in orders if order.order_id not in targets.known]
        named = {target for target in wanted if target is not None}
        targets.events = {e.id: e for e in self.events.values() if e.id in named and e.account_id in accounts}
        sources = [*targets.events.values(), *held]
        asked = named | {block_id for source in sources for block_id, _ in source.parsed_draws()}
        for block_id, (owner, block) in self.blocks.items():
            if block_id in asked and owner in accounts:
                targets.blocks[block_id] = structs.replace(block)
        done = [outcome.order for outcome in self.outcomes.values() if outcome.refused is None]
        targets.voided = {target for order in done if (target := target_of(order)) in asked and target is not None}
        return targets

    def _write(self, posting: Posting) -> None:
        assert not posting.rejected
        assert all(amount for transaction in posting.transactions for _, amount in transaction.lines)
        self.transactions += posting.transactions
        assert not self.events.keys() & {event.id for event in posting.events}
        self.events |= {event.id: event for event in posting.events}
        for account, block in posting.made_blocks:
            maker = next(t for t in posting.transactions if block_account(block.id) in dict(t.lines))
            made = structs.replace(block, remaining_micro=block.granted_micro)
            ended = (r.idempotency_key for r in posting.reservations.values() if self._is_end(r, maker))
            name = f"{block.source} by {maker.idempotency_key or next(ended)}"
            again = " again" * sum(known.replace(" again", "") == name for known in self.names.values())
            self._insert_block(account, made, name + again)
        for _, block in posting.changed_blocks.values():
            owner, before = self.blocks[block.id]
            assert 0 <= block.remaining_micro <= before.granted_micro == block.granted_micro
            self.blocks[block.id] = owner, structs.replace(block)
        self.accounts |= {ref: structs.replace(account, blocks=[]) for ref, account in posting.accounts.items()}
        assert not self.outcomes.keys() & {outcome.order.order_id for outcome in posting.outcomes}
        self.outcomes |= {outcome.order.order_id: outcome for outcome in posting.outcomes}
        for reservation in posting.reservations.values():
            before = self.reservations.get(reservation.id)
            assert before is None or before.is_open or before.opened_seq < reservation.opened_seq
            self.reservations[reservation.id] = reservation

    @staticmethod
    def _is_end(reservation: Reservation, transaction: Transaction) -> bool:
        return (reservation.account_id, reservation.ended_seq) == (transaction.account_id, transaction.seq)

    # ---- what is read back

    def state(self, ref: bytes) -> AccountState:
        """What is published of an account now."""
        account = self.read(ref)
        figures = account.revision, account.total_micro, account.applied_micro, next_boundary(account.blocks)
        return AccountState(ref, *figures, account.posted_at, SNAPSHOT, "none")

    def sums(self, who: str) -> Counter[str]:
        """What all lines of a customer give, by ledger account."""
        account_id, sums = self.accounts[ref_of(who)].id, Counter[str]()
        for transaction in self.transactions:
            if transaction.account_id == account_id:
                for name, amount in transaction.lines:
                    sums[name] += amount
        return sums
