"""The zone by whose calendar periods are counted."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from app.embedded.valkey import EmbeddedValkey
from app.io.clock import Clock
from tests.app.core import make_catalogue, open_core, open_flusher
from tests.conftest import DatabaseUrls


class StoppedClock(Clock):
    """Shows one moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """That moment."""
        return self._moment


async def test_periods_are_counted_in_the_billing_zone(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """From the anchor, by the calendar of the zone: over a change of its clocks the hour of the day stays."""
    zone = ZoneInfo("Europe/Berlin")
    moment = datetime(2027, 2, 28, 23, 30, tzinfo=UTC)  # 1 March, 0:30 in Berlin
    async with (
        open_core(urls, valkey.url, StoppedClock(moment), billing_timezone="Europe/Berlin") as core,
        open_flusher(urls, core),
    ):
        tenant = await core.tenant()
        variant = await make_catalogue(tenant.sandbox)
        made = await tenant.sandbox.made("/v1/subscriptions", {"end_user_id": "u", "plan_variant_id": variant})
    assert datetime.fromisoformat(made["period_start"]) == moment
    assert datetime.fromisoformat(made["period_end"]) == datetime(2027, 4, 1, 0, 30, tzinfo=zone)
