"""What the page asks of the app: who is there, an answer, the balance as it moves, the statement, a payment."""

import re
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, NotAuthorizedException, NotFoundException
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from msgspec import Meta

from docs.demo import catalogue
from docs.demo.account import Beat
from docs.demo.chat import Event
from docs.demo.encoding import answer, encode
from docs.demo.journal import asking_for
from docs.demo.parts import Parts
from docs.demo.provider import Payment

COOKIE: Final = "customer"
CUSTOMER: Final = "[a-z0-9][a-z0-9-]{0,31}"
NO_NAME: Final = "A name has 1 to 32 letters from a to z, digits and hyphens, and begins with no hyphen."
"""The same in words, for whoever has another."""
MAX_PROMPT: Final = 2_000
MAX_ENTRIES: Final = 200


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to sign in: a name is all that this app asks for."""

    name: str


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the customer says."""

    text: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT)]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the customer wants to buy."""

    item: str


class Paid(msgspec.Struct, frozen=True):
    """The payment, and what the app said when it was told of it."""

    payment: Payment
    answer: Any
    balance: Any


Customer = NamedDependency[str]
OfApp = NamedDependency[Parts]


def customer_of(request: Request[Any, Any, Any]) -> str | None:
    """Who asks, by the cookie; None where nobody has signed in."""
    customer = request.cookies.get(COOKIE, "")
    return customer if re.fullmatch(CUSTOMER, customer) else None


def signed_in(request: Request[Any, Any, Any]) -> str:
    """Who asks; somebody does, or they are sent to sign in."""
    customer = customer_of(request)
    if customer is None:
        raise NotAuthorizedException("Sign in first.")
    return customer


async def attribute(request: Request[Any, Any, Any]) -> None:
    """Before each request: the calls that it makes are written down as theirs who ask."""
    asking_for.set(customer_of(request))


@post("/api/sign-in", status_code=204)
async def sign_in(data: JSONBody[Visitor], parts: OfApp) -> Response[None]:
    """Whoever is new to QuotaStack is put on the free plan by their first check: nobody has to be made."""
    if not re.fullmatch(CUSTOMER, data.name):
        raise ClientException(NO_NAME)
    await parts.metering.check_entitlement(data.name, catalogue.FEATURE)
    return Response(None, cookies=[Cookie(COOKIE, value=data.name, httponly=True, samesite="strict")])


@post("/api/sign-out", status_code=204)
async def sign_out() -> Response[None]:
    """Forget who it was."""
    return Response(None, cookies=[Cookie(COOKIE, value="", max_age=0, httponly=True, samesite="strict")])


@get("/api/me")
async def show_me(request: Request[Any, Any, Any], parts: OfApp) -> Response[bytes]:
    """Who is signed in, on which plan, and what there is to buy; null where nobody is."""
    customer = customer_of(request)
    return answer(None if customer is None else await parts.account.show(customer))


@post("/api/chat", status_code=200)
async def chat(customer: Customer, data: JSONBody[Prompt], parts: OfApp) -> Stream:
    """The answer as JSON lines, as it comes. Whoever leaves before its end pays for what was streamed."""
    events = parts.listeners.tell(parts.chat.answer(customer, data.text))
    return Stream(_lines(events), media_type="application/x-ndjson")


async def _lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    async for event in events:
        yield encode(event) + b"\n"


@get("/api/live")
async def live(customer: Customer, request: Request[Any, Any, Any], parts: OfApp) -> Stream:
    """The balance and the calls, as server-sent events. A browser that comes again says what it has had."""
    after = request.headers.get("Last-Event-ID", "")
    beats = parts.account.follow(customer, int(after) if after.isdecimal() else 0)
    return Stream(_messages(beats), media_type="text/event-stream")


async def _messages(beats: AsyncGenerator[Beat, None]) -> AsyncGenerator[bytes, None]:
    async for beat in beats:
        number = f"id: {beat.calls[-1].number}\n" if beat.calls else ""
        yield f"{number}data: ".encode() + encode(beat) + b"\n\n"


@get("/api/ledger")
async def show_ledger(customer: Customer, parts: OfApp) -> Response[bytes]:
    """The customer's statement, the newest entry first."""
    entries = await parts.metering.request("GET", f"/v1/customers/{customer}/ledger", query={"limit": MAX_ENTRIES})
    return answer({"customer": customer, "data": entries["data"]})


@post("/api/payments")
async def ask_for_payment(customer: Customer, data: JSONBody[Order], parts: OfApp) -> Response[bytes]:
    """Send the customer to the provider; nothing is granted before that has confirmed."""
    offer = catalogue.OFFERS.get(data.item)
    if offer is None:
        raise NotFoundException(f"{data.item!r} is not for sale.")
    payment = parts.provider.ask(customer, offer.key, offer.name, offer.price_cents, catalogue.CURRENCY)
    return answer(payment, HTTPStatus.CREATED)


@get("/api/payments/{reference:str}")
async def show_payment(customer: Customer, reference: FromPath[str], parts: OfApp) -> Response[bytes]:
    """What the provider's page shows."""
    return answer(_payment(parts, customer, reference))


@post("/api/payments/{reference:str}/confirm", status_code=200)
async def confirm_payment(customer: Customer, reference: FromPath[str], parts: OfApp) -> Response[bytes]:
    """The provider's button: it tells the app that the payment is made, as often as it is pressed."""
    payment = _payment(parts, customer, reference)
    done = await parts.provider.confirm(payment)
    check = await parts.metering.check_entitlement(customer, catalogue.FEATURE)
    return answer(Paid(payment, done, check.balance))


def _payment(parts: Parts, customer: str, reference: str) -> Payment:
    payment = parts.provider.find(reference)
    if payment is None or payment.customer != customer:
        raise NotFoundException("There is no such payment. A restart of the demo forgets those that were open.")
    return payment


ROUTES: Final = (
    *(sign_in, sign_out, show_me, chat, live, show_ledger),
    *(ask_for_payment, show_payment, confirm_payment),
)
