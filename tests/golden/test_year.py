"""One year of one subscription in three billing zones, kept as text: months end where they do, and clocks change."""

from pathlib import Path

import pytest

from tests.golden.kept import compare
from tests.golden.year import show

FOLDER = Path(__file__).parent


@pytest.mark.parametrize(
    ("zone", "name"), [("UTC", "utc"), ("Europe/Berlin", "berlin"), ("America/New_York", "new_york")]
)
def test_the_year_is_the_one_that_is_kept(zone: str, name: str, request: pytest.FixtureRequest) -> None:
    """Byte for byte."""
    compare(show(zone), FOLDER / f"year.{name}.txt", request)
