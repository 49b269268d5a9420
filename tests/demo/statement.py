"""A customer's ledger, as the stack's own API shows it."""

from itertools import pairwise
from typing import Any, NamedTuple

import httpx

from docs.demo.catalogue import FEATURE
from tests.demo.running import RunningDemo
from tests.waiting import wait_until


class Statement(NamedTuple):
    """What the customer has, and every entry, newest first; nothing is pending."""

    total: float
    entries: list[dict[str, Any]]


def statement(demo: RunningDemo, customer: str) -> Statement:
    """The statement, once all usage is posted; each entry sums to zero and begins where the one before it ended."""
    stack = demo.stack
    headers = {"Authorization": f"Bearer {stack['sandbox_key']}"}
    with httpx.Client(base_url=f"{stack['core_url']}/v1/customers/{customer}", headers=headers) as core:
        credit = wait_until(lambda: posted(core.get("/credits").json()), 20, f"the usage of {customer} to be posted")
        entries = core.get("/ledger", params={"limit": 1000}).json()["data"]
    for newer, older in pairwise(entries):
        assert newer["total_before"] == older["total_after"]
    assert all(round(sum(line["amount"] for line in entry["lines"]), 6) == 0 for entry in entries)
    assert entries[0]["total_after"] == credit["total"]
    return Statement(credit["total"], entries)


def spend(demo: RunningDemo, customer: str, credits_spent: int) -> None:
    """Use up so much of what the customer has, beside the app."""
    usage = {"end_user_id": customer, "feature_key": FEATURE, "units": credits_spent, "enforce": True}
    headers = {"Authorization": f"Bearer {demo.stack['sandbox_key']}"}
    httpx.post(f"{demo.stack['edge_url']}/v1/usage", json=usage, headers=headers).raise_for_status()


def posted(credit: dict[str, Any]) -> dict[str, Any] | None:
    """The credit where nothing is pending any more."""
    return credit if credit.get("pending") == 0 else None


def of_kind(entries: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The entries of one kind."""
    return [entry for entry in entries if entry["kind"] == kind]
