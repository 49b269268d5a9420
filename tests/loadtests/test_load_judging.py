"""Judges take what is right, and nothing else."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.load.judging import (
    MICRO,
    Answer,
    Wrong,
    is_passing,
    is_without_figures,
    judge_credits,
    judge_ledger,
    judge_repeat,
    judge_spend,
    judge_usage,
    judge_usage_sum,
    read,
    to_micro,
)

MICROS = st.integers(0, 10**15)


def answer_of(status: int, body: object, *, is_replayed: bool = False) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(body, default=float).encode(), is_replayed)


def usage_of(cost_micro: int, balance_micro: int) -> bytes:
    """The body of a 202, in the decimals that it is written with."""
    cost, balance = (Decimal(micro) / MICRO for micro in (cost_micro, balance_micro))
    return f'{{"accepted":true,"cost":{cost:f},"balance":{balance:f},"overage":0}}'.encode()


@given(MICROS, MICROS)
def test_amounts_are_read_to_the_last_millionth(cost_micro: int, balance_micro: int) -> None:
    """Never through a binary fraction: one millionth more or less is wrong."""
    answer = Answer(202, usage_of(cost_micro, balance_micro))
    judge_usage(answer, cost_micro, balance_micro)
    for wrong in ((cost_micro + 1, balance_micro), (cost_micro, balance_micro - 1)):
        with pytest.raises(Wrong):
            judge_usage(answer, *wrong)


@given(st.integers(1, 100), st.integers(0, 100))
def test_spend_is_accepted_exactly_where_it_can_be_paid(cost: int, before: int) -> None:
    """The other answer is wrong, whichever it is."""
    paid = Answer(202, usage_of(cost * MICRO, (before - cost) * MICRO))
    refused = answer_of(402, {"code": "insufficient_credits", "context": {"balance": before}})
    right, other = (paid, refused) if cost <= before else (refused, paid)
    assert judge_spend(right, cost * MICRO, before * MICRO) is (cost <= before)
    with pytest.raises(Wrong):
        judge_spend(other, cost * MICRO, before * MICRO)


@pytest.mark.parametrize(
    ("again", "is_right"),
    [
        (Answer(202, b"{}", is_replayed=True), True),
        (Answer(202, b"{}"), False),
        (Answer(202, b"{ }", is_replayed=True), False),
        (Answer(200, b"{}", is_replayed=True), False),
    ],
    ids=["same", "without its mark", "other bytes", "other status"],
)
def test_replay_is_the_same_to_the_byte_and_says_so(again: Answer, is_right: bool) -> None:  # noqa: FBT001 - a column
    """Anything else differs."""
    first = Answer(202, b"{}")
    if is_right:
        judge_repeat(again, first)
    else:
        with pytest.raises(Wrong):
            judge_repeat(again, first)


def ledger_of(*totals: tuple[int, int, int]) -> Answer:
    """A page of (seq, total before, total after), newest first."""
    rows: list[dict[str, Any]] = [
        {"seq": seq, "total_before": before, "total_after": after, "lines": [{"amount": 1}, {"amount": -1}]}
        for seq, before, after in totals
    ]
    return answer_of(200, {"data": rows})


def test_ledger_is_a_chain() -> None:
    """No gap, and each begins where the one before it ended."""
    judge_ledger(ledger_of())
    judge_ledger(ledger_of((3, 5, 9), (2, 0, 5), (1, 0, 0)))
    for broken in (ledger_of((3, 5, 9), (1, 0, 5)), ledger_of((2, 4, 9), (1, 0, 5))):
        with pytest.raises(Wrong):
            judge_ledger(broken)
    unbalanced = {"seq": 1, "total_before": 0, "total_after": 1, "lines": [{"amount": 1}]}
    with pytest.raises(Wrong, match="sum of the lines of 1"):
        judge_ledger(answer_of(200, {"data": [unbalanced]}))


def test_credits_add_up() -> None:
    """Total less pending is the balance, and that is the known one."""
    body = {"total": 10, "pending": 3, "balance": 7}
    judge_credits(answer_of(200, body), None)
    judge_credits(answer_of(200, body), 7 * MICRO)
    judge_credits(answer_of(200, body | {"pending": None, "balance": None}), 7 * MICRO)
    for wrong, balance_micro in ((body, 8 * MICRO), (body | {"pending": 2}, None), (body | {"pending": None}, None)):
        with pytest.raises(Wrong):
            judge_credits(answer_of(200, wrong), balance_micro)


def test_posted_usage_is_never_more_than_was_sent() -> None:
    """Less may still be pending."""
    answer = answer_of(200, {"data": [{"events": 2, "units": 10}]})
    judge_usage_sum(answer, 3, 11)
    for most in ((1, 10), (2, 9)):
        with pytest.raises(Wrong):
            judge_usage_sum(answer, *most)


@pytest.mark.parametrize(
    ("status", "body", "passing"),
    [
        (503, b"", True),
        (502, b"<html>", True),
        (409, b'{"code":"idempotency_key_in_flight"}', True),
        (409, b'{"code":"conflict"}', False),
        (500, b"", False),
        (429, b"", False),
        (202, b"", False),
        (202, b'{"results":[{"status":"accepted","durability":"spooled"}]}', False),
    ],
)
def test_answer_that_says_later_is_told_from_one_that_is_wrong(status: int, body: bytes, passing: bool) -> None:  # noqa: FBT001 - a column
    """A killed process is no wrong answer, and a 500 is."""
    assert is_passing(status, body) is passing


@pytest.mark.parametrize(
    ("status", "body", "without_figures"),
    [
        (202, b'{"event_id":"evt_1","accepted":true,"cost":null,"durability":"spooled"}', True),
        (202, b'{"results":[{"status":"accepted"},{"status":"accepted","durability":"spooled"}]}', True),
        (202, b'{"event_id":"evt_1","accepted":true,"cost":1}', False),
        (422, b'{"durability":"spooled"}', False),
    ],
)
def test_spooled_usage_is_told_from_usage_with_figures(status: int, body: bytes, without_figures: bool) -> None:  # noqa: FBT001 - a column
    """Alone and among others of a batch."""
    assert is_without_figures(status, body) is without_figures


def test_what_is_no_json_is_wrong() -> None:
    """And says what came."""
    with pytest.raises(Wrong, match="no JSON: 200 <html>"):
        read(Answer(200, b"<html>"), 200)
    assert to_micro(read(Answer(200, b"0.000001"), 200)) == 1
