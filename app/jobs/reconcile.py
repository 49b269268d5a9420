"""Finds accounts that do not agree with their entries, and edges that do not agree with the ledger. It repairs nothing.

Each round looks at accounts that the edge has just touched, at the next of all accounts, and again at those where the
last look saw something. What two looks saw is drift: it is logged, and stands in a table until it is over.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from app.io import metrics
from app.io.clock import Clock
from app.io.edge_accounts import StreamId, read_touched
from app.io.postgres import Database, Transaction
from app.io.readiness import OK, Part
from app.io.redis import RedisStore, RedisUnavailable
from app.io.statements import statements
from app.jobs.rounds import Pace, run_rounds
from app.ledger.proof import Finding
from app.ledger.reconciling import Customer, Look, customers_of, is_suspect, judge, list_accounts_after, look_at

log: Any = structlog.get_logger()
_SQL = statements("app.jobs")
ROUND_SECONDS = 1.0
PAGE = 200
"""Accounts that are looked at together; so many of all accounts come a round, 720,000 an hour."""
TOUCHED_ENTRIES = 10
"""Entries of each partition whose accounts are looked at in a round; what is more comes in the next."""
MOST_SUSPECTS = 1_000
"""Accounts that are looked at again in a round; where there are more, the walk comes to the others again."""
WALK = timedelta(minutes=1)
"""A walk through all accounts begins no sooner than this after the one before it."""
START = UUID(int=0), UUID(int=0)
_ADRIFT = metrics.gauge("quotastack_drift_accounts", "Accounts that do not agree with their entries or the edge")


class _Walk(msgspec.Struct):
    """Through all accounts, in the order of their key."""

    began_at: datetime
    place: tuple[UUID, UUID] = START
    accounts: int = 0
    is_over: bool = False
    left_some_out: bool = False
    is_written: bool = False


class Reconciler:
    """Looks until told to stop. Several may run at once: each looks at everything, and they find the same."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._walk = _Walk(clock.now())
        self._touched_to: list[StreamId] = [(0, 0)] * redis.agreement.partitions
        self._suspects: dict[Customer, Look] = {}
        """By what made them suspect."""
        self.adrift = 0
        """Accounts that do not agree, as of the last round, whoever found them."""

    async def run(self, stop: asyncio.Event) -> None:
        """A round every ROUND_SECONDS; one that fails is tried again."""
        await run_rounds(self.round, Pace("reconciliation", ROUND_SECONDS), stop)

    async def round(self) -> int:
        """Look at what has its turn; how many accounts that was.

        Raises ExceptionGroup of RedisUnavailable, after all that could be looked at.
        """
        known = await self._database.run(None, _list_drifting)
        touched, failures = await self._list_touched()
        names = list(dict.fromkeys([*self._suspects, *known, *touched, *await self._next_of_walk()]))
        looks: list[Look] = []
        for start in range(0, len(names), PAGE):
            found = await look_at(self._database, self._redis, names[start : start + PAGE])
            looks += found.looks
            failures += found.failures
        self.adrift = await self._note(known, looks)
        _ADRIFT.set(self.adrift)
        await self._end_walk(is_whole=not failures)
        if failures:
            raise ExceptionGroup("servers that are away", failures)
        return len(looks)

    async def tell(self) -> Part:
        """For readiness: it works, and somebody should look where accounts are adrift."""
        if not self.adrift:
            return OK
        return Part("degraded", f"{self.adrift} accounts do not agree with the ledger; run `quotastack doctor`.")

    async def _list_touched(self) -> tuple[list[Customer], list[RedisUnavailable]]:
        """Whose entries came since the last round, so far as they are looked at now."""
        try:
            pages = await read_touched(self._redis, self._touched_to, TOUCHED_ENTRIES)
        except RedisUnavailable as error:
            return [], [error]
        self._touched_to = [end for end, _ in pages]
        return customers_of({ref for _, refs in pages for ref in refs}), []

    async def _next_of_walk(self) -> list[Customer]:
        walk = self._walk
        if walk.is_over:
            if self._clock.now() < walk.began_at + WALK:
                return []
            self._walk = walk = _Walk(self._clock.now())
        page = await list_accounts_after(self._database, walk.place, PAGE)
        walk.is_over = len(page) < PAGE
        if page:
            walk.place = page[-1][:2]
        walk.accounts += len(page)
        return [(environment_id, end_user_id) for environment_id, _, end_user_id in page]

    async def _end_walk(self, *, is_whole: bool) -> None:
        """Write down that all accounts were looked at; called once a round."""
        walk = self._walk
        walk.left_some_out |= not is_whole
        if not walk.is_over or walk.left_some_out or walk.is_written:
            return
        figures = walk.began_at, max(self._clock.now(), walk.began_at), walk.accounts

        async def write(tx: Transaction) -> None:
            await tx.connection.execute(_SQL["write_walk"], *figures)

        await self._database.run(None, write)
        walk.is_written = True

    async def _note(self, known: Mapping[Customer, UUID], looks: Sequence[Look]) -> int:
        """Tell and keep what is adrift now, and forget what is not any more; how many are."""
        suspects, self._suspects = self._suspects, {}
        adrift: dict[Customer, tuple[Look, list[Finding]]] = {}
        over: dict[Customer, UUID] = {}
        for look in looks:
            customer, first = look.customer, suspects.get(look.customer)
            findings = [] if first is None else judge(first, look)
            if findings:
                adrift[customer] = look, findings
            if is_suspect(look):
                if len(self._suspects) < MOST_SUSPECTS:
                    self._suspects[customer] = look
            elif customer in known and not findings:
                over[customer] = known[customer]
        await self._write(adrift, over)
        _tell(adrift, known, over)
        return len((known.keys() | adrift.keys()) - over.keys())

    async def _write(
        self, adrift: Mapping[Customer, tuple[Look, list[Finding]]], over: Mapping[Customer, UUID]
    ) -> None:
        if not adrift and not over:
            return
        columns = (
            [environment_id for environment_id, _ in adrift],
            [look.ledger.figures.account_id for look, _ in adrift.values()],
            [_text(findings) for _, findings in adrift.values()],
        )

        async def write(tx: Transaction) -> None:
            await tx.connection.execute(_SQL["write_drifting"], *columns, self._clock.now())
            await tx.connection.execute(
                _SQL["delete_drifting"], [environment_id for environment_id, _ in over], list(over.values())
            )

        await self._database.run(None, write)


async def _list_drifting(tx: Transaction) -> dict[Customer, UUID]:
    """Whose accounts are adrift as far as anybody knows, and their ids."""
    rows = await tx.connection.fetch(_SQL["list_drifting"], MOST_SUSPECTS)
    return {(row["environment_id"], row["end_user_id"]): row["account_id"] for row in rows}


def _text(findings: Iterable[Finding]) -> str:
    return "; ".join(f"{finding.invariant}: {finding.message}" for finding in findings)


def _tell(
    adrift: Mapping[Customer, tuple[Look, list[Finding]]],
    known: Mapping[Customer, UUID],
    over: Mapping[Customer, UUID],
) -> None:
    """Log what is new: an account once when it begins to be adrift, and once when it agrees again."""
    for (environment_id, end_user_id), (look, findings) in adrift.items():
        if (environment_id, end_user_id) not in known:
            named = {"environment_id": f"env_{environment_id.hex}", "end_user_id": end_user_id}
            account_id = str(look.ledger.figures.account_id)
            log.error("account_adrift", **named, account_id=account_id, findings=_text(findings))
    for (environment_id, end_user_id), account_id in over.items():
        named = {"environment_id": f"env_{environment_id.hex}", "end_user_id": end_user_id}
        log.info("account_agrees_again", **named, account_id=str(account_id))
