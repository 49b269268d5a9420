"""Whether an answer is right: each function knows what has to come back, and raises Wrong where something else did."""

import json
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from itertools import pairwise
from typing import Any, NamedTuple

MICRO = 1_000_000
"""Millionths in a credit."""
MAX_SHOWN = 200
"""Characters of an answer that a message repeats."""


PASSING_STATUSES = frozenset({502, 503, 504})
IN_FLIGHT = b'"idempotency_key_in_flight"'
"""In the body of a 409: the request before it, whose process was killed perhaps, is not known to be over."""
SPOOLED = b'"durability":"spooled"'
"""In the body of a 202: of an event in it nobody knows yet what it costs. Asked again under its key, the edge will."""


class Wrong(Exception):
    """An answer that is not what it has to be."""


class Answer(NamedTuple):
    """An HTTP answer, read whole."""

    status: int
    body: bytes
    is_replayed: bool = False
    """Whether its head says that it was given before."""


def is_passing(status: int, body: bytes) -> bool:
    """Whether an answer says no more than: later. The same request may be answered a moment afterwards."""
    return status in PASSING_STATUSES or (status == HTTPStatus.CONFLICT and IN_FLIGHT in body)


def is_without_figures(status: int, body: bytes) -> bool:
    """Whether an answer takes usage in and cannot say yet what it costs: the same request finds out a moment later."""
    return status == HTTPStatus.ACCEPTED and SPOOLED in body


def to_micro(number: int | Decimal) -> int:
    """Credits in millionths."""
    return int(number * MICRO)


def read(answer: Answer, status: int) -> Any:  # noqa: ANN401 - whatever JSON it is
    """The body of an answer with this status."""
    if answer.status != status:
        raise Wrong(f"{answer.status} instead of {status}: {_shown(answer)}")
    try:
        return json.loads(answer.body, parse_float=Decimal)
    except ValueError as error:
        raise Wrong(f"no JSON: {_shown(answer)}") from error


def require(what: str, found: object, expected: object) -> None:
    """Raise Wrong where something is not as expected."""
    if found != expected:
        raise Wrong(f"{what} is {found}, not {expected}")


def judge_check(answer: Answer, cost_micro: int, balance_micro: int | None) -> None:
    """A check of something that the customer can pay; the balance is compared where it is known."""
    body = read(answer, HTTPStatus.OK)
    require("allowed", body["allowed"], expected=True)
    require("cost", to_micro(body["cost"]), cost_micro)
    if balance_micro is not None:
        require("balance", to_micro(body["balance"]), balance_micro)


def judge_usage(answer: Answer, cost_micro: int, balance_micro: int | None) -> None:
    """Usage that the customer can pay; `balance_micro` is what is left, where that is known."""
    body = read(answer, HTTPStatus.ACCEPTED)
    _judge_accepted(body, cost_micro, balance_micro)
    require("accepted", body["accepted"], expected=True)


def judge_spend(answer: Answer, cost_micro: int, before_micro: int) -> bool:
    """Usage with `enforce` by a customer who has so much; whether it is accepted, which follows from that."""
    is_accepted = cost_micro <= before_micro
    if is_accepted:
        judge_usage(answer, cost_micro, before_micro - cost_micro)
    else:
        body = read(answer, HTTPStatus.PAYMENT_REQUIRED)
        require("code", body["code"], "insufficient_credits")
        require("balance", to_micro(body["context"]["balance"]), before_micro)
    return is_accepted


def judge_opening(answer: Answer, cost_micro: int, balance_micro: int | None) -> str:
    """A reservation that the customer can pay; its id."""
    body = read(answer, HTTPStatus.CREATED)
    require("reserved", to_micro(body["reserved"]), cost_micro)
    if balance_micro is not None:
        require("balance", to_micro(body["balance"]), balance_micro)
    return body["reservation_id"]


def judge_commit(answer: Answer, cost_micro: int, left_micro: int, balance_micro: int | None) -> None:
    """A commit in time: what it costs, and what of the reservation comes back, at once."""
    body = read(answer, HTTPStatus.OK)
    require("charged", to_micro(body["charged"]), cost_micro)
    require("released", to_micro(body["released"]), left_micro)
    require("late", body["late"], expected=False)
    if balance_micro is not None:
        require("balance", to_micro(body["balance"]), balance_micro)


def judge_repeat(answer: Answer, first: Answer) -> None:
    """The same request again: the same answer, byte for byte, and its head says so."""
    if (answer.status, answer.body) != (first.status, first.body):
        raise Wrong(f"a replay differs: {_shown(answer)} after {_shown(first)}")
    require("Idempotent-Replayed", answer.is_replayed, expected=True)


def read_results(answer: Answer, count: int) -> list[dict[str, Any]]:
    """The results of a batch, one for each event."""
    results = read(answer, HTTPStatus.ACCEPTED)["results"]
    require("number of results", len(results), count)
    return results


def judge_results(results: Sequence[dict[str, Any]], costs_micro: Sequence[int]) -> None:
    """A batch of which every event has to be accepted."""
    for index, (result, cost_micro) in enumerate(zip(results, costs_micro, strict=True)):
        if result["status"] != "accepted":
            raise Wrong(f"event {index} was {result['status']}: {result['code']}: {result['detail']}")
        _judge_accepted(result, cost_micro, None)


def judge_repeated_results(results: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]]) -> None:
    """A whole batch again: every event is known, and its result is what it was."""
    for index, (result, before) in enumerate(zip(results, first, strict=True)):
        require(f"result {index} of a replay", result, before | {"replayed": True})


def judge_single(answer: Answer, result: dict[str, Any]) -> None:
    """One event of a batch again, by itself: what the batch said of it."""
    body = read(answer, HTTPStatus.ACCEPTED)
    require("Idempotent-Replayed", answer.is_replayed, expected=True)
    for name in ("event_id", "cost", "balance", "overage"):
        require(name, body[name], result[name])


def judge_credits(answer: Answer, balance_micro: int | None) -> None:
    """A customer's credits: the figures add up, and the balance is right where it is known to both sides."""
    body = read(answer, HTTPStatus.OK)
    if body["pending"] is None:
        require("balance", body["balance"], None)
        return
    require("total less pending", body["total"] - body["pending"], body["balance"])
    if balance_micro is not None:
        require("balance", to_micro(body["balance"]), balance_micro)


def judge_ledger(answer: Answer) -> None:
    """A page of the ledger, newest first: no gap, each begins where the one before ended, lines sum to zero."""
    rows = read(answer, HTTPStatus.OK)["data"]
    for row in rows:
        require(f"sum of the lines of {row['seq']}", sum(line["amount"] for line in row["lines"]), 0)
    for newer, older in pairwise(rows):
        require("seq before", older["seq"], newer["seq"] - 1)
        require(f"total before {newer['seq']}", newer["total_before"], older["total_after"])


def judge_usage_sum(answer: Answer, most_events: int, most_units: int) -> None:
    """Posted usage of one customer and feature: no more than was ever sent."""
    rows = read(answer, HTTPStatus.OK)["data"]
    events, units = sum(row["events"] for row in rows), sum(row["units"] for row in rows)
    if events > most_events or units > most_units:
        raise Wrong(f"{events} events of {units} units are posted, and {most_events} of {most_units} were sent")


def _judge_accepted(body: dict[str, Any], cost_micro: int, balance_micro: int | None) -> None:
    require("cost", to_micro(body["cost"]), cost_micro)
    require("overage", body["overage"], 0)
    if balance_micro is not None:
        require("balance", to_micro(body["balance"]), balance_micro)


def _shown(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:MAX_SHOWN].decode(errors='replace')}"
