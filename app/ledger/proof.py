"""Proof of one account: everything in its rows is derived again and compared. Pure.

The numbers are those of the invariants in docs/invariants.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from app.ledger.book import DEBT, Account, Origin, PostedEvent, Transaction, block_account
from app.rules import chain


class BlockRow(msgspec.Struct, frozen=True):
    """A block as its row has it."""

    id: UUID
    granted_micro: int
    remaining_micro: int


class Evidence(msgspec.Struct, frozen=True):
    """All rows of one account. `transactions` by seq."""

    account: Account
    blocks: Sequence[BlockRow]
    transactions: Sequence[Transaction]
    events: Sequence[PostedEvent]


class Finding(msgspec.Struct, frozen=True):
    """An invariant that does not hold, and the row that shows it."""

    invariant: int
    row: str
    message: str


def prove(evidence: Evidence) -> list[Finding]:
    """Everything that is wrong with the account; empty where nothing is."""
    return [*_lines(evidence), *_chain(evidence), *_blocks(evidence), *_totals(evidence), *_events(evidence)]


def issued_and_used(evidence: Evidence) -> dict[str, int]:
    """Sums of the account's lines by kind of ledger account: issued, consumed, expired, block, debt (micro-credits)."""
    sums: dict[str, int] = defaultdict(int)
    for transaction in evidence.transactions:
        for name, amount in transaction.lines:
            sums[name.partition(":")[0]] += amount
    return dict(sums)


def _row(transaction: Transaction) -> str:
    return f"ledger_transactions seq {transaction.seq}"


def _lines(evidence: Evidence) -> Iterable[Finding]:
    for transaction in evidence.transactions:
        rest = sum(amount for _, amount in transaction.lines)
        if rest:
            yield Finding(1, _row(transaction), f"its lines sum to {rest}, not to zero")


def _chain(evidence: Evidence) -> Iterable[Finding]:
    """Post every transaction again to an empty account: seq, totals, times and hashes have to come out the same."""
    account = evidence.account
    replayed = Account(
        account.environment_id, account.id, account.end_user_id, 0, 0, 0, 0, 0, 0, chain.GENESIS, "", "", []
    )
    digests = _events_digests(evidence.events)
    for stored in evidence.transactions:
        if stored.seq != replayed.seq + 1:
            yield Finding(10, _row(stored), f"follows seq {replayed.seq}: a transaction is missing or repeated")
            replayed.seq = stored.seq - 1
        if stored.previous_hash != replayed.head_hash:
            yield Finding(9, _row(stored), "does not name the hash of the transaction before it")
            replayed.head_hash = stored.previous_hash
        if stored.total_before_micro != replayed.total_micro:
            yield Finding(11, _row(stored), f"begins at {stored.total_before_micro}, not at {replayed.total_micro}")
            replayed.total_micro = stored.total_before_micro
        if stored.posted_at < replayed.posted_at:
            yield Finding(12, _row(stored), "was posted before the transaction that it follows")
        if stored.events_digest != digests.get(stored.seq):
            yield Finding(9, _row(stored), "its usage events are not the ones that it was posted with")
        yield from _compare(stored, _post_again(replayed, stored))
    if replayed.head_hash != account.head_hash or replayed.seq != account.seq:
        yield Finding(9, "accounts", f"ends at seq {account.seq}, its transactions end at seq {replayed.seq}")


def _post_again(account: Account, stored: Transaction) -> Transaction:
    """What posting the same thing gives; a line was reported already where the lines do not balance."""
    lines = stored.lines
    rest = sum(amount for _, amount in lines)
    balanced = [*lines, ("unbalanced", -rest)] if rest else lines
    account.posted_at = min(account.posted_at, stored.posted_at)
    origin = Origin(stored.actor, stored.reason, stored.idempotency_key)
    return account.post(stored.kind, balanced, stored.posted_at, origin, events_digest=stored.events_digest)


def _compare(stored: Transaction, again: Transaction) -> Iterable[Finding]:
    if stored.total_after_micro != again.total_after_micro:
        yield Finding(11, _row(stored), f"ends at {stored.total_after_micro}, its lines give {again.total_after_micro}")
    if stored.hash != again.hash:
        yield Finding(9, _row(stored), "its hash is not the one of its content")


def _events_digests(events: Sequence[PostedEvent]) -> dict[int, bytes]:
    by_seq: dict[int, list[chain.ChainedEvent]] = defaultdict(list)
    for event in events:
        by_seq[event.seq].append(event.chained())
    return {seq: chain.events_digest(chained) for seq, chained in by_seq.items()}


def _blocks(evidence: Evidence) -> Iterable[Finding]:
    balances: dict[str, int] = defaultdict(int)
    granted: dict[str, int] = {}
    for transaction in evidence.transactions:
        for name, amount in transaction.lines:
            balances[name] += amount
            granted.setdefault(name, amount)  # the first line of a block is the one that made it
    for block in evidence.blocks:
        name, row = block_account(block.id), f"credit_blocks {block.id}"
        if balances[name] != block.remaining_micro:
            yield Finding(4, row, f"has {block.remaining_micro} left, its entries give {balances[name]}")
        if granted.get(name, 0) != block.granted_micro:
            yield Finding(4, row, f"was granted {block.granted_micro}, its entries say {granted.get(name, 0)}")
    missing = {name for name in balances if name.startswith("block:")} - {block_account(b.id) for b in evidence.blocks}
    for name in sorted(missing):
        yield Finding(4, "credit_blocks", f"{name} has entries and no row")


def _totals(evidence: Evidence) -> Iterable[Finding]:
    account, sums = evidence.account, issued_and_used(evidence)
    remaining = sum(block.remaining_micro for block in evidence.blocks)
    if account.total_micro != remaining - account.debt_micro:
        yield Finding(3, "accounts", f"total {account.total_micro} is not {remaining} - {account.debt_micro} of debt")
    if account.debt_micro != -sums.get(DEBT, 0):
        yield Finding(3, "accounts", f"debt {account.debt_micro}, its entries give {-sums.get(DEBT, 0)}")
    gone = sums.get("consumed", 0) + sums.get("expired", 0) + sums.get("voided", 0)
    if -sums.get("issued", 0) + account.debt_micro != remaining + gone:
        yield Finding(6, "ledger_lines", "issued + debt is not remaining + consumed + expired + voided")


def _events(evidence: Evidence) -> Iterable[Finding]:
    drawn: dict[tuple[int, str], int] = defaultdict(int)
    for event in evidence.events:
        draws = event.parsed_draws()
        row = f"usage_events {event.id}"
        if sum(amount for _, amount in draws) + event.debt_micro != event.cost_micro:
            yield Finding(7, row, f"its draws and its debt do not sum to its cost of {event.cost_micro}")
        for block_id, amount in draws:
            drawn[event.seq, block_account(block_id)] -= amount
        drawn[event.seq, DEBT] -= event.debt_micro
        drawn[event.seq, f"consumed:{event.feature_key}"] += event.cost_micro
    posted: dict[tuple[int, str], int] = defaultdict(int)
    for transaction in evidence.transactions:
        if transaction.kind == "usage":
            for name, amount in transaction.lines:
                posted[transaction.seq, name] += amount
    for seq, name in sorted(drawn.keys() | posted.keys()):
        if drawn[seq, name] != posted[seq, name]:
            message = f"{name} moves by {posted[seq, name]}, its events give {drawn[seq, name]}"
            yield Finding(7, f"ledger_lines seq {seq}", message)
