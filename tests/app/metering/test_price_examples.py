"""docs/prices.md: every example is a price that can be set, and costs what stands beside it."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from app.metering.schemas import NewFeature, parse_price
from app.rules.credits import MICRO
from app.rules.pricing import Price, cost_micro
from app.web.bodies import decode

PAGE = (Path(__file__).parents[3] / "docs" / "prices.md").read_text()
EXAMPLES = re.findall(r"^\| `(\{.*\})` \| (\d+) \| (\d+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
BOUNDED = [
    '{"kind": "graduated", "tiers": [{"amount": 9, "up_to": 700000}, {"amount": 9}]}',
    '{"kind": "graduated", "tiers": [{"amount": 15, "up_to": 1000000000000}, {"amount": 15}], "per": 1000000}',
]
"""What the page says is possible."""


def read(text: str) -> Price:
    """The price of a feature that is made with it."""
    body = decode(b'{"key": "f", "name": "F", "price": %b}' % text.encode(), NewFeature)
    assert body.price is not None
    return parse_price(body.price).price


@pytest.mark.parametrize(("price", "used", "units", "cost"), EXAMPLES)
def test_examples(price: str, used: str, units: str, cost: str) -> None:
    """The table of costs."""
    assert cost_micro(read(price), int(units) * MICRO, int(used) * MICRO) == Decimal(cost) * MICRO


def test_all_kinds_have_an_example() -> None:
    """None of them is left out."""
    kinds = {re.findall(r'"kind": "(\w+)"', price)[0] for price, *_ in EXAMPLES}
    assert kinds == {"flat", "per_unit", "package", "graduated", "volume"}


@pytest.mark.parametrize("price", BOUNDED)
def test_bounds_of_graduated_prices(price: str) -> None:
    """Just inside what can be counted."""
    read(price)
