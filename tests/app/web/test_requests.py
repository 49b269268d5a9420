"""Request ids, paths, pages and amounts: what is the same for every route."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

import app
from app.errors import ServiceError
from app.rules.credits import MAX_BALANCE_MICRO
from app.web.amounts import Credits
from app.web.bodies import decode, encode
from app.web.paging import Listing, write_cursor
from app.wire.codes import Code
from app.wire.ids import show
from tests.app.core import Tenant
from tests.app.web.test_problems import assert_problem

APP = Path(app.__file__ or "").parent


class Holder(msgspec.Struct):
    """A body with an amount."""

    amount: Credits


async def test_request_ids(tenant: Tenant) -> None:
    """A good one is taken over and echoed, any other is replaced, and every answer has one."""
    answer = await tenant.sandbox.send("GET", "/v1/features", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    for bad in ("", "with space", "x" * 129, "caf\u00e9"):
        headers = {b"x-request-id": bad.encode("latin-1")}
        answer = await tenant.sandbox.http.get("/v1/nothing", headers=headers)
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.json()["instance"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("end_user_id", ["a/b", "a%2Fb", "ä b?#&+", "..", "😀", "%", "a" * 256])
async def test_ids_in_paths_are_percent_encoded(tenant: Tenant, end_user_id: str) -> None:
    """Whatever a tenant calls its users, an encoded path finds them and only them."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": end_user_id})
    encoded = "".join(f"%{byte:02X}" for byte in end_user_id.encode())
    for path in (f"/v1/customers/{encoded}", f"/v1/customers/{encoded}/credits", f"/v1/customers/{encoded}/ledger"):
        assert (await tenant.sandbox.get(path)).status_code == 200
    assert (await tenant.sandbox.read(f"/v1/customers/{encoded}"))["end_user_id"] == end_user_id


async def test_pages_cover_everything_once(tenant: Tenant) -> None:
    """Going from cursor to cursor shows each item once, whatever the limit."""
    names = [f"user_{number}" for number in range(7)]
    for name in names:
        await tenant.sandbox.made("/v1/customers", {"end_user_id": name})
    for limit in (1, 2, 7, 8):
        seen: list[str] = []
        query: dict[str, object] = {"limit": limit}
        while True:
            body = await tenant.sandbox.read("/v1/customers", **query)
            seen += [item["end_user_id"] for item in body["data"]]
            if body["next_cursor"] is None:
                break
            assert len(body["data"]) == limit
            query["cursor"] = body["next_cursor"]
        assert seen == names


def test_cursors() -> None:
    """They come back as they were, and nothing else is taken for one."""
    listing = Listing("these", tuple[int, str])
    assert listing.decode(listing.encode((3, "ä"))) == (3, "ä")
    assert listing.decode(None) is None
    others = [Listing("those", tuple[int, str]).encode((3, "ä")), Listing("these", int).encode(1)]
    for text in ("", "ä", "*", write_cursor("text"), write_cursor((3, "ä")), *others):
        with pytest.raises(ServiceError):
            listing.decode(text)


POSITIONS = [
    *("a", 1, uuid4(), (1, uuid4())),
    *((datetime.now(UTC), uuid4()), (datetime.now(UTC), "a", "a")),
]


async def test_no_list_takes_a_cursor_of_another(tenant: Tenant) -> None:
    """Whatever the place looks like: each list that there is refuses it by the name of the field."""
    document = await tenant.sandbox.read("/schema")
    lists = 0
    for path, operations in document["paths"].items():
        known = {each["name"]: each for each in operations.get("get", {}).get("parameters", [])}
        if "cursor" in known:
            lists += 1
            required = {name: "a" for name, each in known.items() if each["in"] == "query" and each["required"]}
            there = path.format_map(dict.fromkeys(known, "a") | {"subscription_id": show("sub", uuid4())})
            for position in POSITIONS:
                cursor = write_cursor(("another list", position))
                assert_problem(await tenant.sandbox.get(there, **required, cursor=cursor), Code.INVALID_VALUE, "cursor")
    assert lists >= 20


def test_no_two_lists_have_one_name() -> None:
    """Their cursors could not be told apart."""
    names = [name for path in APP.rglob("*.py") for name in re.findall(r'Listing\("(.*?)"', path.read_text())]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("49000", 49_000_000_000),
        ("0.25", 250_000),
        ("0.000001", 1),
        ("-0.3", -300_000),
        ("1e3", 1_000_000_000),
        ("2.50", 2_500_000),
        ("9007199254.740991", MAX_BALANCE_MICRO),
    ],
)
def test_amounts_are_exact(text: str, micro: int) -> None:
    """In, and out again, without a binary fraction in between."""
    body = decode(f'{{"amount": {text}}}'.encode(), Holder)
    assert body.amount.micro == micro
    assert decode(encode(body), Holder) == body
    assert b"e" not in encode(body).replace(b"amount", b"").lower()


def test_amounts_print_as_people_write_them() -> None:
    """Whole ones without a point, others without trailing zeros."""
    shown = [encode(Credits(micro)).decode() for micro in (0, 1_000_000, 250_000, -1, 10**15)]
    assert shown == ["0", "1", "0.25", "-0.000001", "1000000000"]
