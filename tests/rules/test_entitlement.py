"""May this user do this? Precedence and floors, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.entitlement import Access, OveragePolicy, Reason, refusal_of_access, refusal_of_credit
from tests.rules.laws import LAW

ACCESS = """
price | included | subscribed | answer
no    | no       | no         | no_subscription
no    | yes      | no         | no_subscription
no    | no       | yes        | feature_not_in_plan
no    | yes      | yes        | feature_not_in_plan
yes   | no       | yes        | feature_not_in_plan
yes   | yes      | yes        | may
yes   | no       | no         | may
yes   | yes      | no         | may
"""
CREDIT = """
available | cost | floor | policy | answer
10        | 10   | 0     | block  | may
10        | 11   | 0     | block  | insufficient_credits
10        | 11   | 0     | allow  | may
10        | 11   | 0     | notify | may
0         | 0    | 0     | block  | may
-1        | 0    | 0     | block  | may
-1        | 1    | 0     | block  | insufficient_credits
-1        | 0    | 0     | notify | may
0         | 5    | -5    | block  | may
0         | 6    | -5    | block  | insufficient_credits
10        | 1    | 10    | block  | insufficient_credits
"""


def rows(table: str) -> list[list[str]]:
    """Cells of a text table, without its head."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def answer(reason: Reason | None) -> str:
    """As the tables say it."""
    return "may" if reason is None else reason


@pytest.mark.parametrize("row", rows(ACCESS), ids=" ".join)
def test_access(row: list[str]) -> None:
    """What the plan says, before any credit is looked at; the overage policy has no say in it."""
    price, included, subscribed = (cell == "yes" for cell in row[:3])
    for policy in OveragePolicy:
        access = Access(has_price=price, included=included, subscribed=subscribed, overage_policy=policy)
        assert answer(refusal_of_access(access)) == row[3]


def test_unknown_feature() -> None:
    """A feature that the environment does not have comes before everything that one could say of it."""
    assert refusal_of_access(None) is Reason.UNKNOWN_FEATURE


@pytest.mark.parametrize("row", rows(CREDIT), ids=" ".join)
def test_credit(row: list[str]) -> None:
    """Where credit runs out, the policy decides; the floor itself may be reached."""
    available, cost, floor = map(int, row[:3])
    assert answer(refusal_of_credit(available, cost, floor, OveragePolicy(row[3]))) == row[4]


@LAW
@given(*[st.integers(-(2**53), 2**53)] * 3)
def test_what_may_be_spent_may_be_spent_with_more_credit(available: int, cost: int, floor: int) -> None:
    """More credit or a lower floor never turns a yes into a no."""
    if refusal_of_credit(available, cost, floor, OveragePolicy.BLOCK) is None:
        assert refusal_of_credit(available + 1, cost, floor, OveragePolicy.BLOCK) is None
        assert refusal_of_credit(available, cost, floor - 1, OveragePolicy.BLOCK) is None


def test_reasons_are_in_order_of_precedence() -> None:
    """The order of the list is the order in which clients are told: who, what, plan, credit."""
    assert list(Reason) == [
        "unknown_customer",
        "unknown_feature",
        "no_subscription",
        "feature_not_in_plan",
        "insufficient_credits",
    ]
