"""A month of one customer: read from words, posted by the real `post_batch`, and written down for people."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from app.ledger.book import Transaction
from app.rules.burndown import Block
from app.rules.credits import from_micro
from app.rules.moments import NEVER_AT, to_at, to_datetime
from app.wire.events import EntryKind, StreamEntry, UsagePayload
from app.wire.ids import derived_id
from app.wire.orders import Debit, Order, VoidGrant, VoidUsage
from tests.ledger_model.rows import Rows, ref_of

WHO, YEAR = "customer", 2026
PRICE_ID = UUID(int=1)
Happening = Callable[[int, re.Match[str]], None]
"""What a kind of line does, at its moment."""
LINE = re.compile(r"(?P<moment>\d\d \w{3} \d\d:\d\d)  (?P<what>.+)")


class Said(TypedDict):
    """What all orders say."""

    order_id: UUID
    actor: str
    reason: str
    idempotency_key: str


class Month:
    """The ledger while the events of the file go by."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.rows.open(WHO)
        self.refused: list[str] = []
        self._waiting: list[StreamEntry] = []
        self._uses: dict[str, StreamEntry] = {}
        self._read: dict[str, Happening] = {
            r"grant (\S+) (\S+), (\w+)(?:, priority (\d+))?(?:, until (.+))?": self._grant,
            r"use (\S+) (\S+) of (\S+)": self._use,
            r"again (\S+)": self._again,
            r"void use (\S+): (.+)": self._void_use,
            r"void grant (\S+?)(, with debt)?: (.+)": self._void_grant,
            r"take (\S+) (\S+?)(, with debt)?: (.+)": self._take,
            r"tick": self._tick,
        }

    def play(self, text: str) -> "Month":
        """All lines of the file."""
        today = ""
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            found = LINE.fullmatch(line)
            assert found, f"not a line of a month: {line}"
            if today != found["moment"][:6]:
                self._post()
            today = found["moment"][:6]
            self._happens(moment_at(found["moment"]), found["what"])
        self._post()
        return self

    def _happens(self, at: int, what: str) -> None:
        for pattern, happen in self._read.items():
            if found := re.fullmatch(pattern, what):
                happen(at, found)
                return
        raise AssertionError(f"nobody knows what this means: {what}")

    def _grant(self, at: int, words: re.Match[str]) -> None:
        name, amount, source, priority, until = words.groups()
        expires_at = NEVER_AT if until is None else moment_at(until)
        known = self.rows.accounts[ref_of(WHO)].revision + 1
        is_paid = source == "topup"
        block = Block(id_of(name), micro(amount), int(priority or 100), is_paid, known, at, expires_at, at)
        self.rows.grant(WHO, name, block, source)

    def _use(self, at: int, words: re.Match[str]) -> None:
        key, amount, feature = words.groups()
        payload = UsagePayload(id_of(key), feature, 1_000_000, PRICE_ID, None, key, None)
        self._uses[key] = self._append(EntryKind.USAGE, at, micro(amount), payload)

    def _again(self, at: int, words: re.Match[str]) -> None:
        use = self._uses[words[1]]
        self._append(EntryKind.USAGE, at, use.cost_micro, use.payload)

    def _void_use(self, at: int, words: re.Match[str]) -> None:
        event_id, said = id_of(words[1]), self._said(f"void of {words[1]}", at, words[2])
        self._order(at, VoidUsage(event_id=event_id, **said))

    def _void_grant(self, at: int, words: re.Match[str]) -> None:
        name, with_debt, reason = words.groups()
        target, said = id_of(name), self._said(f"void of {name}", at, reason)
        self._order(at, VoidGrant(block_id=target, allow_debt=with_debt is not None, **said))

    def _take(self, at: int, words: re.Match[str]) -> None:
        name, amount, with_debt, reason = words.groups()
        taken, said = micro(amount), self._said(name, at, reason)
        self._order(at, Debit(amount_micro=taken, allow_debt=with_debt is not None, **said))

    def _tick(self, at: int, _: re.Match[str]) -> None:
        self._append(EntryKind.TICK, at, 0, None)

    @staticmethod
    def _said(name: str, at: int, reason: str) -> Said:
        """One void may be asked for twice: the moment is part of what the order is."""
        return {"order_id": id_of(f"{name} {at}"), "actor": "support", "reason": reason, "idempotency_key": name}

    def _order(self, at: int, order: Order) -> None:
        self._post()
        self._append(EntryKind.ORDER, at, 0, None, order)
        self._post()
        if refused := self.rows.outcomes[order.order_id].refused:
            amount = f" ({credits(refused.amount_micro)})" if refused.amount_micro else ""
            self.refused.append(f"{day(at)}  {order.reason}: {refused.code.value}{amount}")

    def _append(
        self, kind: EntryKind, at: int, cost: int, payload: UsagePayload | None, order: Order | None = None
    ) -> StreamEntry:
        revision = self.rows.accounts[ref_of(WHO)].revision
        entry = StreamEntry((at, 0), ref_of(WHO), kind, at, revision, cost, payload, order)
        self._waiting.append(entry)
        return entry

    def _post(self) -> None:
        if self._waiting:
            self.rows.post(self._waiting)
        self._waiting = []


def show(month: Month) -> str:
    """The ledger for people: transactions in order, then what was refused, then the blocks and the balance."""
    shown = ["The ledger of January 2026. Amounts are credits; the lines of a transaction sum to zero.", ""]
    for transaction in month.rows.transactions:
        shown += [*_show_transaction(month.rows, transaction), ""]
    shown += ["Refused, and so not in the ledger:", *(f"  {refused}" for refused in month.refused), ""]
    account = month.rows.accounts[ref_of(WHO)]
    shown += [f"{'Blocks at the end':<34}{'granted':>12}{'remaining':>12}{'used, taken or expired':>26}  until"]
    for _, block in month.rows.blocks.values():
        left, until = block.remaining_micro, block.expires_at
        figures = f"{credits(block.granted_micro):>12}{credits(left):>12}{credits(block.granted_micro - left):>26}"
        shown.append(f"  {month.rows.names[block.id]:<32}{figures}  {'-' if until == NEVER_AT else day(until)}")
    shown += [f"  {'debt':<32}{'':>12}{credits(-account.debt_micro):>12}"]
    return "\n".join([*shown, f"  {'total':<32}{'':>12}{credits(account.total_micro):>12}", ""])


def _show_transaction(rows: Rows, transaction: Transaction) -> list[str]:
    reason = f": {transaction.reason}" if transaction.reason else ""
    total = f"{credits(transaction.total_before_micro)} -> {credits(transaction.total_after_micro)}"
    shown = [f"{transaction.seq:>3}  {day(transaction.posted_at)}  {transaction.kind}{reason}  [{total}]"]
    shown += [f"       {_name(rows, name):<36}{credits(amount, '+'):>16}" for name, amount in transaction.lines]
    for event in rows.events.values():
        if event.seq == transaction.seq:
            drawn = [f"{credits(amount)} from {rows.names[block]}" for block, amount in event.parsed_draws()]
            drawn += [f"{credits(event.debt_micro)} as debt"] if event.debt_micro else []
            shown.append(f"       - {event.idempotency_key} at {day(event.accepted_at)}: {', '.join(drawn) or 'free'}")
    return shown


def _name(rows: Rows, ledger_account: str) -> str:
    kind, _, block_id = ledger_account.partition(":")
    return f"block {rows.names[UUID(block_id)]}" if kind == "block" else ledger_account


def id_of(name: str) -> UUID:
    """An id that follows from the name."""
    return derived_id(b"golden", name.encode())


def micro(text: str) -> int:
    """Credits in words of the file, as micro-credits."""
    return int(Decimal(text) * 1_000_000)


def credits(amount_micro: int, sign: str = "") -> str:  # noqa: A001 - the word of the field
    """Micro-credits for people."""
    return f"{from_micro(amount_micro):{sign}}"


def moment_at(text: str) -> int:
    """A day and a time, such as `31 Jan 12:00`, in microseconds."""
    return to_at(datetime.strptime(f"{YEAR} {text}", "%Y %d %b %H:%M").replace(tzinfo=UTC))


def day(at: int) -> str:
    """The same for people."""
    return f"{to_datetime(at):%d %b %H:%M}"
