"""Where a clock is to stand: what may be asked of it. How it gets there is `settling`."""

from datetime import UTC, datetime, timedelta

from app.errors import ServiceError, invalid_value
from app.io.postgres import Transaction
from app.test_clocks import store
from app.test_clocks.schemas import MAX_STEP_DAYS, Advance
from app.test_clocks.store import Way
from app.trail import dirty
from app.web.principal import Principal
from app.wire.codes import Code

SANDBOX = "sandbox"
MAX_STEP = timedelta(days=MAX_STEP_DAYS)
LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""No clock goes further: what begins there still fits the range of moments when it ends."""


def require_sandbox(principal: Principal) -> None:
    """Raises ServiceError sandbox_only: in a live environment time is not to be played with."""
    if principal.environment_kind != SANDBOX:
        raise ServiceError(Code.SANDBOX_ONLY, "Only sandbox environments have a test clock; use the sandbox's key.")


async def freeze(tx: Transaction, at: datetime | None, now: datetime, name: str | None) -> Way:
    """Have the environment's time stand still; from where to where it comes with that.

    It stands still from now on, and at a later moment once all is posted that falls due until then. `name` tells the
    request from others: the one that froze it may come again. Raises ServiceError where it stands still already.
    """
    row = await store.lock_clock(tx)
    if row is None:
        posted_until = await store.read_posted_until(tx)
        earliest = now if posted_until is None else max(now, posted_until)
        frozen_at = earliest if at is None else at
        if frozen_at < earliest:
            raise invalid_value("at", f"must not be before {earliest.isoformat()}: what happened has happened")
        _require_near("at", now, frozen_at)
        await store.insert_clock(tx, Way(earliest, frozen_at), now, name)
        row = await store.lock_clock(tx)
    elif not row.is_new and not _is_again(row, name):
        raise _conflict(row, "The environment's time stands still already; advance it.")
    if row is None or at not in {None, row.way.to}:  # somebody else was first
        raise _conflict(row, "The environment's clock was set by another request.")
    return row.way


async def start_advance(tx: Transaction, asked: Advance, name: str | None) -> tuple[datetime, Way]:
    """Send the clock on its way; where it stood before it was sent. One that is on its way already goes on.

    `by_seconds` counts from where an advance that is not finished began: whoever asks again asks for the same. `name`
    tells the request from others: one that came through, and could not be answered, moves it once. Raises ServiceError.
    """
    row = await store.lock_clock(tx)
    if row is None:
        raise _conflict(row, "The environment goes by the real time; freeze it first.")
    begun_at = row.advanced_from or row.frozen_at
    if row.advancing_to is None and _is_again(row, name):
        return begun_at, Way(begun_at, begun_at)
    to = _target(asked, begun_at)
    if to < (row.advancing_to or row.frozen_at):
        raise _conflict(row, "A clock never goes back, nor does it stop where it was on its way to a later moment.")
    _require_near("to" if asked.by_seconds is None else "by_seconds", begun_at, to)
    await store.start_advance(tx, begun_at, to, name)
    return begun_at, Way(row.frozen_at, to, row.is_new)


def _is_again(row: store.ClockRow, name: str | None) -> bool:
    """Whether the request that moved the clock last has come again."""
    return name is not None and row.moved_under == name


def _target(asked: Advance, begun_at: datetime) -> datetime:
    if asked.to is not None and asked.by_seconds is None:
        return asked.to
    if asked.to is None and asked.by_seconds is not None:
        return begun_at + timedelta(seconds=asked.by_seconds)
    raise invalid_value("to", "or by_seconds, exactly one of them, says how far")


def _require_near(field: str, begun_at: datetime, to: datetime) -> None:
    if to > min(begun_at + MAX_STEP, LAST):
        raise invalid_value(field, f"must be within {MAX_STEP_DAYS} days of {begun_at.isoformat()}, and before 2200")


async def reset(tx: Transaction, now: datetime) -> None:
    """Have the environment go by the real time again, `now`. Raises ServiceError where it has customers.

    What was posted for them may be dated later than now, and a ledger is only ever added to. Neither does a price that
    was made by a clock ahead of now hold yet, and prices are never changed.
    """
    await dirty.change_catalogue(tx)  # so that no customer is being made meanwhile
    if await store.has_customers(tx):
        detail = "What was posted for the environment's customers stays; make a new tenant to start anew."
        raise _conflict(await store.read_clock(tx), detail)
    if await store.holds_later(tx, now):
        detail = "What was made by the clock (prices, say) would hold only later; make a new tenant to start anew."
        raise _conflict(await store.read_clock(tx), detail)
    await store.delete_clock(tx)


def _conflict(row: store.ClockRow | None, detail: str) -> ServiceError:
    context = {} if row is None else {"frozen_at": row.frozen_at, "advancing_to": row.advancing_to}
    return ServiceError(Code.TEST_CLOCK_CONFLICT, detail, context=context)
