"""A product in memory that keeps its promises, or breaks the one that a test names: it shows that probes can fail."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from app.rules.credits import from_micro
from loadtests.load.judging import MICRO, Answer
from loadtests.load.plan import MONTHLY_CREDITS, PRICES_MICRO


class Fault(Enum):
    """What a product can do wrong."""

    DECIDES_BEFORE_IT_TAKES = auto()
    """Two spends see the same credit."""
    REFUSES_THE_LAST = auto()
    """What costs all that is left is refused."""
    CHARGES_EVERY_REPEAT = auto()
    """A repeat gets the stored answer and is charged again."""
    ANSWERS_REPEATS_ANEW = auto()
    """A repeat gets the balance of this moment."""
    SHOWS_AN_OLD_BALANCE = auto()
    """A check does not know of the last event."""
    LOSES_WHAT_WAS_LAST = auto()
    """A killed process forgets the last event that it acknowledged."""
    POSTS_THE_LAST_TWICE = auto()
    """A killed process posts it a second time."""
    VOIDS_TWICE = auto()
    """A second void gives back as much again."""
    KEEPS_WHAT_WAS_VOIDED = auto()
    """What was voided still counts as used."""
    REFUSES_IN_BATCHES = auto()
    """The third event of a batch is rejected for no reason."""
    KEEPS_WHAT_WAS_NOT_USED = auto()
    """A commit says what comes back of a reservation, and nothing does."""
    ENDS_TWICE = auto()
    """A repeated end of a reservation has its effect again."""
    HIDES_THAT_IT_IS_LATE = auto()
    """A commit of what has expired is answered as if it had come in time."""


@dataclass
class Reservation:
    """What is held, until when, and how it ended."""

    opening: dict[str, Any]
    reserved_micro: int
    due_at: float
    is_expired: bool = False
    ended: Answer | None = None


@dataclass
class Account:
    """A customer's credit, in micro-credits; `before_micro` is what it was before the last event."""

    balance_micro: int = 0
    before_micro: int = 0
    postings: list[dict[str, Any]] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)
    open: list[Reservation] = field(default_factory=list)


class ToyProduct:
    """Core and edge in one. Everything is posted at once, so that nothing is ever pending."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.accounts: dict[str, Account] = {}
        self._seen: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}
        self._made: dict[str, Answer] = {}
        self._reservations: dict[str, Reservation] = {}
        self._last: tuple[Account, dict[str, Any]] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["ToyProduct"]:
        """Another connection."""
        yield self

    async def kill(self, name: str) -> None:
        """Kill a process, with what that does to the last event; `jobs` has nothing to do with events."""
        if self._last is None or name == "jobs":
            return
        account, posting = self._last
        if self.fault is Fault.LOSES_WHAT_WAS_LAST and posting in account.postings:
            account.postings.remove(posting)
        if self.fault is Fault.POSTS_THE_LAST_TWICE:
            account.postings.append(posting)

    async def send(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """Answer a request; one with a key that was used is not made again."""
        if key is not None and key in self._made:
            return self._made[key]
        answer = await self._make(method, path, body)
        if key is not None:
            self._made[key] = answer
        return answer

    async def _make(self, method: str, path: str, body: Any) -> Answer:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match method, parts.path.strip("/").split("/"):
            case "POST", ["v1", "customers" | "subscriptions" as what]:
                amount_micro = MONTHLY_CREDITS * MICRO if what == "subscriptions" else 0
                self.accounts.setdefault(body["end_user_id"], Account(amount_micro))
                return _answer(HTTPStatus.CREATED, {})
            case "POST", ["v1", "credits", "grants"]:
                account = self.accounts[body["end_user_id"]]
                account.balance_micro += body["amount"] * MICRO
                return _answer(HTTPStatus.CREATED, {"balance": from_micro(account.balance_micro)})
            case "POST", ["v1", "usage", *rest]:
                return await self._usage(rest, body)
            case "POST", ["v1", "reservations", *rest]:
                return await self._reservation(rest, body)
            case "GET", ["v1", *rest]:
                return self._read(rest, query)
        raise AssertionError((method, path))

    async def _usage(self, path: list[str], body: Any) -> Answer:
        match path:
            case []:
                status, content, is_replayed = await self._use(body)
                return _answer(status, content, is_replayed=is_replayed)
            case ["batch"]:
                results = [await self._result(index, event) for index, event in enumerate(body["events"])]
                return _answer(HTTPStatus.ACCEPTED, {"results": results})
            case ["events", event_id, "void"]:
                return self._void(unquote(event_id))
        raise AssertionError(path)

    async def _use(self, event: dict[str, Any]) -> tuple[int, dict[str, Any], bool]:
        """Status, body, and whether it is a replay."""
        key = event["end_user_id"], event["feature_key"], event["idempotency_key"]
        account = self.accounts[event["end_user_id"]]
        if key in self._seen:
            status, body = self._seen[key]
            if self.fault is Fault.CHARGES_EVERY_REPEAT and status == HTTPStatus.ACCEPTED:
                self._post(account, event)
            if self.fault is Fault.ANSWERS_REPEATS_ANEW:
                body = body | {"balance": from_micro(account.balance_micro), "again": True}
            return status, body, True
        cost_micro, available_micro = _cost_micro(event), account.balance_micro
        if self.fault is Fault.DECIDES_BEFORE_IT_TAKES:
            await asyncio.sleep(0)  # everybody else has a look at the same balance
        is_too_much = cost_micro > available_micro
        is_too_much |= self.fault is Fault.REFUSES_THE_LAST and cost_micro == available_micro
        if event.get("enforce") and is_too_much:
            context = {"balance": from_micro(available_micro), "cost": from_micro(cost_micro)}
            body = {"code": "insufficient_credits", "context": context}
            self._seen[key] = HTTPStatus.PAYMENT_REQUIRED, body
            return HTTPStatus.PAYMENT_REQUIRED, body, False
        self._post(account, event)
        body = {
            "event_id": "|".join(key),
            "accepted": True,
            "cost": from_micro(cost_micro),
            "balance": from_micro(account.balance_micro),
            "overage": 0,
        }
        self._seen[key] = HTTPStatus.ACCEPTED, body
        return HTTPStatus.ACCEPTED, body, False

    async def _reservation(self, path: list[str], body: dict[str, Any]) -> Answer:
        if not path:
            return await self._reserve(body)
        name, verb = path
        return self._end(self._reservations[unquote(name)], verb, body)

    async def _reserve(self, body: dict[str, Any]) -> Answer:
        key, account = body["idempotency_key"], self.accounts[body["end_user_id"]]
        made = f"{body['end_user_id']}|{key}"
        if made in self._made:
            return self._made[made]._replace(is_replayed=True)
        reserved_micro, available_micro = _cost_micro(body), account.balance_micro
        if self.fault is Fault.DECIDES_BEFORE_IT_TAKES:
            await asyncio.sleep(0)  # everybody else has a look at the same balance
        if reserved_micro > available_micro:
            self._made[made] = _answer(HTTPStatus.PAYMENT_REQUIRED, {"code": "insufficient_credits"})
            return self._made[made]
        account.balance_micro -= reserved_micro
        opened = Reservation(body, reserved_micro, time.monotonic() + body.get("ttl_seconds", 600))
        account.open.append(opened)
        self._reservations[made] = opened
        figures = {"reserved": from_micro(reserved_micro), "balance": from_micro(account.balance_micro)}
        self._made[made] = _answer(HTTPStatus.CREATED, {"reservation_id": quote(made, safe=""), **figures})
        return self._made[made]

    def _expire(self, account: Account) -> None:
        """What is past due goes back."""
        for one in [one for one in account.open if time.monotonic() >= one.due_at]:
            account.open.remove(one)
            account.balance_micro += one.reserved_micro
            one.is_expired = True

    def _end(self, one: Reservation, verb: str, body: dict[str, Any]) -> Answer:
        account = self.accounts[one.opening["end_user_id"]]
        self._expire(account)
        if one.ended is not None and self.fault is not Fault.ENDS_TWICE:
            return one.ended._replace(is_replayed=True)
        event = one.opening | {"units": body.get("units", 0)}
        cost_micro, is_commit = _cost_micro(event), verb == "commit"
        left_micro = 0 if one.is_expired else one.reserved_micro - cost_micro
        if not one.is_expired:
            account.balance_micro += one.reserved_micro
        if one in account.open:
            account.open.remove(one)
        if is_commit:
            self._post(account, event)
        if is_commit and self.fault is Fault.KEEPS_WHAT_WAS_NOT_USED:
            account.balance_micro -= left_micro
        is_late = one.is_expired and self.fault is not Fault.HIDES_THAT_IT_IS_LATE
        figures = {"charged": from_micro(cost_micro), "released": from_micro(left_micro), "late": is_late}
        one.ended = _answer(HTTPStatus.OK, {**figures, "balance": from_micro(account.balance_micro)})
        return one.ended

    def _void(self, event_id: str) -> Answer:
        end_user_id, feature_key, key = event_id.split("|")
        account = self.accounts[end_user_id]
        if event_id in account.voided and self.fault is not Fault.VOIDS_TWICE:
            return _answer(HTTPStatus.CONFLICT, {"code": "already_voided"})
        posting = next(one for one in account.postings if one["idempotency_key"] == key)
        account.balance_micro += _cost_micro({"units": posting["units"], "feature_key": feature_key})
        account.voided.add(event_id)
        if self.fault not in {Fault.KEEPS_WHAT_WAS_VOIDED, Fault.VOIDS_TWICE}:
            account.postings.remove(posting)
        return _answer(HTTPStatus.CREATED, {"event_id": event_id})

    def _post(self, account: Account, event: dict[str, Any]) -> None:
        account.before_micro = account.balance_micro
        account.balance_micro -= _cost_micro(event)
        posting = dict(event)
        account.postings.append(posting)
        self._last = account, posting

    async def _result(self, index: int, event: dict[str, Any]) -> dict[str, Any]:
        if self.fault is Fault.REFUSES_IN_BATCHES and index == 2:
            return {"status": "rejected", "replayed": False, "code": "invalid_value", "detail": "no reason"}
        _, body, is_replayed = await self._use(event)
        return {**body, "status": "accepted", "replayed": is_replayed, "code": None, "detail": None}

    def _check(self, query: dict[str, str]) -> Answer:
        account = self.accounts[query["end_user_id"]]
        self._expire(account)
        is_old = self.fault is Fault.SHOWS_AN_OLD_BALANCE and account.postings
        balance_micro = account.before_micro if is_old else account.balance_micro
        cost_micro = int(query.get("units", "1")) * _price_micro(query["feature_key"])
        body = {"allowed": cost_micro <= balance_micro, "cost": from_micro(cost_micro)}
        return _answer(HTTPStatus.OK, body | {"balance": from_micro(balance_micro)})

    def _read(self, path: list[str], query: dict[str, str]) -> Answer:
        match path:
            case ["entitlements", "check"]:
                return self._check(query)
            case ["customers", end_user_id, "credits"]:
                balance = from_micro(self.accounts[unquote(end_user_id)].balance_micro)
                return _answer(HTTPStatus.OK, {"balance": balance, "total": balance, "pending": 0})
            case ["customers", _, "ledger"]:
                return _page([])
            case ["usage"]:
                return _page(self._sums(query))
            case ["usage", "events"]:
                return _page(self._postings(query["end_user_id"], query["feature_key"]))
        raise AssertionError(path)

    def _sums(self, query: dict[str, str]) -> list[dict[str, Any]]:
        names = [query["end_user_id"]] if "end_user_id" in query else list(self.accounts)
        rows: list[dict[str, Any]] = []
        for name in names:
            postings = self._postings(name, query["feature_key"])
            if postings:
                units = sum(posting["units"] for posting in postings)
                sums = {"events": len(postings), "units": units}
                rows.append({"end_user_id": name, "feature_key": query["feature_key"], **sums})
        return rows

    def _postings(self, end_user_id: str, feature_key: str) -> list[dict[str, Any]]:
        return [one for one in self.accounts[end_user_id].postings if one["feature_key"] == feature_key]


def _price_micro(feature_key: str) -> int:
    return PRICES_MICRO[feature_key.rpartition(".")[2]]


def _cost_micro(event: dict[str, Any]) -> int:
    return event["units"] * _price_micro(event["feature_key"])


def _page(rows: list[dict[str, Any]]) -> Answer:
    return _answer(HTTPStatus.OK, {"data": rows, "next_cursor": None})


def _answer(status: int, body: dict[str, Any], *, is_replayed: bool = False) -> Answer:
    return Answer(status, json.dumps(body, default=float).encode(), is_replayed)
