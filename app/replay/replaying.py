"""One run, from the file to the summary."""

from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from app.io.outbound import open_session
from app.replay.catalogue import ensure_catalogue, ensure_subscriptions
from app.replay.client import Client
from app.replay.parallel import AT_ONCE
from app.replay.parsing import read_trace
from app.replay.plan import FEATURES, count_events, list_users, plan_batches
from app.replay.progress import show_progress
from app.replay.sending import Tally, send_batches
from app.rules.credits import from_micro

_REQUEST_SECONDS: Final = 30


class Order(msgspec.Struct, frozen=True):
    """What is to be metered and where; `limit` is how many rows, from the first on."""

    path: Path
    base_url: str
    key: str
    batch_size: int
    limit: int | None = None


class Summary(msgspec.Struct, frozen=True):
    """What became of it; `without_units` counts features that a row used nothing of."""

    rows: int
    events: int
    without_units: int
    tally: Tally

    def tables(self) -> tuple[Table, Table]:
        """For the person at the terminal: how many, and what each feature came to."""
        counts = Table("rows", "events sent", "accepted", "replayed", "without units")
        figures = (self.rows, self.events, self.tally.accepted, self.tally.replayed, self.without_units)
        counts.add_row(*map(str, figures))
        features = Table("feature", "units", "credits")
        for feature_key in FEATURES:
            credits_used = from_micro(self.tally.cost_micro[feature_key])
            features.add_row(feature_key, str(self.tally.units[feature_key]), str(credits_used))
        return counts, features


async def replay(order: Order, console: Console) -> Summary:
    """Meter a file; `console` shows how far it is. Raises ReplayError; what was accepted until then stays."""
    trace = read_trace(order.path, order.limit)
    events, users = count_events(trace), list_users(trace)
    async with open_session(total_seconds=_REQUEST_SECONDS, connections=AT_ONCE) as session:
        client = Client(session, order.base_url, order.key)
        variant_id = await ensure_catalogue(client)
        with show_progress(console, "customers", len(users)) as advance:
            await ensure_subscriptions(client, variant_id, users, advance)
        with show_progress(console, "events", events) as advance:
            tally = await send_batches(client, plan_batches(trace, order.batch_size), advance)
    return Summary(len(trace.rows), events, len(FEATURES) * len(trace.rows) - events, tally)
