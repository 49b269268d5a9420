"""May this user do this? Precedence and floors, as tables."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.entitlement import (
    Access,
    OveragePolicy,
    Reason,
    Standing,
    refusal_of_access,
    refusal_of_credit,
    refusal_of_limit,
    standing_of,
)
from tests.rules.laws import LAW

ACCESS = """
terms | off | included | subscribed | standing             | answer
no    | no  | no       | no         | ok                   | no_subscription
no    | no  | yes      | no         | ok                   | no_subscription
no    | no  | no       | yes        | ok                   | feature_not_in_plan
no    | no  | yes      | yes        | ok                   | feature_not_in_plan
yes   | no  | no       | yes        | ok                   | feature_not_in_plan
yes   | no  | yes      | yes        | ok                   | may
yes   | no  | no       | no         | ok                   | feature_not_in_plan
yes   | no  | yes      | no         | ok                   | may
yes   | yes | yes      | yes        | ok                   | feature_not_in_plan
yes   | yes | no       | yes        | ok                   | feature_not_in_plan
yes   | yes | yes      | no         | ok                   | feature_not_in_plan
yes   | no  | yes      | yes        | subscription_paused  | subscription_paused
yes   | no  | yes      | yes        | subscription_overdue | subscription_overdue
yes   | no  | no       | yes        | subscription_paused  | subscription_paused
no    | no  | no       | yes        | subscription_overdue | subscription_overdue
yes   | yes | yes      | yes        | subscription_paused  | subscription_paused
"""
CREDIT = """
available | cost | floor | policy | answer | overage limit
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
10        | 11   | 0     | block  | insufficient_credits | 5
10        | 15   | 0     | allow  | may                  | 5
10        | 16   | 0     | allow  | insufficient_credits | 5
10        | 16   | 0     | notify | insufficient_credits | 5
-5        | 1    | 0     | notify | insufficient_credits | 5
-9        | 0    | 0     | allow  | may                  | 5
10        | 10   | 0     | allow  | may                  | 0
10        | 11   | -50   | allow  | insufficient_credits | 0
"""
LIMIT = """
used | units | limit | answer
0    | 10    | 10    | may
1    | 10    | 10    | limit_reached
10   | 0     | 10    | may
11   | 0     | 10    | may
11   | 1     | 10    | limit_reached
0    | 1     | 0     | limit_reached
99   | 99    | none  | may
"""


def rows(table: str) -> list[list[str]]:
    """Cells of a text table, without its head."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def answer(reason: Reason | None) -> str:
    """As the tables say it."""
    return "may" if reason is None else reason


@pytest.mark.parametrize("row", rows(ACCESS), ids=" ".join)
def test_access(row: list[str]) -> None:
    """What the plan says, before any limit or credit is looked at."""
    terms, off, included, subscribed = (cell == "yes" for cell in row[:4])
    access = Access(has_terms=terms, is_off=off, included=included, subscribed=subscribed, standing=Standing(row[4]))
    assert answer(refusal_of_access(access)) == row[5]


@pytest.mark.parametrize("state", ["scheduled", "trialing", "active", "paused", "overdue", "none"])
def test_standing(state: str) -> None:
    """Paused and overdue subscriptions are not in order, unless their version lets that be; every other state is."""
    not_in_order = {"paused": Standing.SUBSCRIPTION_PAUSED, "overdue": Standing.SUBSCRIPTION_OVERDUE}
    for while_paused, while_overdue in product([False, True], repeat=2):
        standing = standing_of(state, usable_while_paused=while_paused, allow_usage_while_overdue=while_overdue)
        is_let = (state == "paused" and while_paused) or (state == "overdue" and while_overdue)
        assert standing is (Standing.OK if is_let else not_in_order.get(state, Standing.OK))


def test_unknown_feature() -> None:
    """A feature that the environment does not have comes before everything that one could say of it."""
    assert refusal_of_access(None) is Reason.UNKNOWN_FEATURE


@pytest.mark.parametrize("row", rows(CREDIT), ids=" ".join)
def test_credit(row: list[str]) -> None:
    """Where credit runs out, the policy decides; the floor itself may be reached."""
    available, cost, floor = map(int, row[:3])
    overage_limit = int(row[5]) if row[5:] else None
    assert answer(refusal_of_credit(available, cost, floor, OveragePolicy(row[3]), overage_limit)) == row[4]


@pytest.mark.parametrize("row", rows(LIMIT), ids=" ".join)
def test_limit(row: list[str]) -> None:
    """The limit itself may be reached, and nothing beyond it; asking for nothing is not refused."""
    limit = None if row[2] == "none" else int(row[2])
    assert answer(refusal_of_limit(int(row[0]), int(row[1]), limit)) == row[3]


@LAW
@given(*[st.integers(-(2**53), 2**53)] * 3)
def test_what_may_be_spent_may_be_spent_with_more_credit(available: int, cost: int, floor: int) -> None:
    """More credit or a lower floor never turns a yes into a no."""
    if refusal_of_credit(available, cost, floor, OveragePolicy.BLOCK) is None:
        assert refusal_of_credit(available + 1, cost, floor, OveragePolicy.BLOCK) is None
        assert refusal_of_credit(available, cost, floor - 1, OveragePolicy.BLOCK) is None


def test_reasons_are_in_order_of_precedence() -> None:
    """The order of the list is the order in which clients are told: who, what, plan, limit, credit."""
    assert list(Reason) == [
        "unknown_customer",
        "unknown_feature",
        "no_subscription",
        "subscription_paused",
        "subscription_overdue",
        "feature_not_in_plan",
        "limit_reached",
        "insufficient_credits",
    ]
