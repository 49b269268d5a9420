"""What the demo decides by itself: how long an answer may be, what the model says, what is remembered."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.demo import catalogue, journal, model, provider, settings
from docs.demo.chat import LEAST_TOKENS, MOST_TOKENS, affordable
from docs.demo.journal import Call, Journal
from docs.demo.provider import Payment, Provider
from quotastack import EntitlementCheck

SETTINGS = {
    "QUOTASTACK_KEY": "qs_test_1",
    "QUOTASTACK_URL": "http://core.invalid",
    "QUOTASTACK_EDGE_URL": "http://edge.invalid",
}


def check(*, allowed: bool = False, **answered: Any) -> EntitlementCheck:
    """A check for the most tokens, as it is answered."""
    return EntitlementCheck(allowed=allowed, feature_key=catalogue.FEATURE, units=MOST_TOKENS, **answered)


@pytest.mark.parametrize(
    ("answered", "tokens"),
    [
        (check(allowed=True, balance=300, cost=120), 120),
        (check(allowed=True, source="fallback"), 120),
        (check(source="fallback", reason="unavailable"), 0),
        (check(reason="insufficient_credits", balance=43, cost=120), 43),
        (check(reason="insufficient_credits", balance=43, cost=240), 21),
        (check(reason="insufficient_credits", balance=0.5, cost=120), 0),
        (check(reason="insufficient_credits", balance=-7, cost=120), 0),
        (check(reason="subscription_overdue", balance=500, cost=120), 0),
        (check(reason="feature_not_in_plan", balance=500, cost=0), 0),
    ],
)
def test_an_answer_is_as_long_as_credit_goes(answered: EntitlementCheck, tokens: int) -> None:
    """All of it where the check or the fail mode says yes, else what the balance pays for, and never more."""
    assert affordable(answered) == tokens


@given(balance=st.integers(-1_000, 1_000), cost=st.integers(1, 1_000))
def test_what_is_affordable_is_covered(balance: int, cost: int) -> None:
    """So many tokens never cost more than there is."""
    tokens = affordable(check(reason="insufficient_credits", balance=balance, cost=cost))
    assert tokens >= 0
    assert tokens == 0 or tokens * cost <= balance * MOST_TOKENS


@given(prompt=st.text(max_size=200))
def test_the_model_is_deterministic_and_within_its_bound(prompt: str) -> None:
    """The same prompt has the same answer; it is worth beginning, and never longer than what is reserved for it."""
    tokens = model.answer(prompt)
    assert tokens == model.answer(prompt)
    assert LEAST_TOKENS < len(tokens) <= MOST_TOKENS


async def test_an_answer_is_cut_off_at_its_bound() -> None:
    """The model stops where it is told to, in the middle of a sentence if need be."""
    streamed = [token async for token in model.stream("hello", 7, 1_000)]
    assert streamed == model.answer("hello")[:7]


async def test_a_stream_is_paced() -> None:
    """Tokens do not come all at once: others run in between."""
    began = asyncio.get_running_loop().time()
    assert [token async for token in model.stream("hello", 5, 100)]
    assert asyncio.get_running_loop().time() - began >= 5 / 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUOTASTACK_KEY", "qs_live_1"),
        ("QUOTASTACK_KEY", ""),
        ("QUOTASTACK_URL", ""),
        ("DEMO_PORT", "0"),
        ("DEMO_PORT", "http"),
        ("DEMO_FAIL_MODE", "sometimes"),
        ("DEMO_TOKENS_PER_SECOND", "0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(name: str, value: str) -> None:
    """A live key above all: the demo changes which plan is free in the environment that it is given."""
    assert settings.read(SETTINGS).demo_port == 8080
    with pytest.raises(msgspec.ValidationError):
        settings.read({**SETTINGS, name: value})


def test_what_is_sold_has_keys_of_its_own() -> None:
    """What the page asks for by key is one offer, and the free plan is not for sale."""
    assert len(catalogue.OFFERS) == len(catalogue.PLANS) - 1 + len(catalogue.PACKS)
    assert catalogue.FREE.key not in catalogue.OFFERS


async def test_the_provider_tells_as_often_as_it_is_asked() -> None:
    """Each confirmation reaches the app, under the same reference."""
    told: list[str] = []

    async def on_payment(payment: Payment) -> None:
        told.append(payment.reference)

    till = Provider(on_payment)
    payment = till.ask("ada", "chat.small", "Small pack", 499, "EUR")
    await till.confirm(payment)
    await till.confirm(payment)
    assert told == [payment.reference] * 2
    assert payment.told == 2


async def test_the_provider_forgets_the_oldest_payment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered has a bound."""
    monkeypatch.setattr(provider, "MAX_PAYMENTS", 2)

    async def on_payment(_payment: Payment) -> None:
        return None

    till = Provider(on_payment)
    first, second, third = [till.ask("ada", "chat.small", "Small pack", 499, "EUR") for _ in range(3)]
    assert till.find(first.reference) is None
    assert till.find(second.reference) is second
    assert till.find(third.reference) is third


def call_of(path: str) -> Call:
    """A call that was answered."""
    return Call("GET", path, "edge", 200, 0.5, None, {})


def written(*customers: str) -> Journal:
    """A journal with a call for each of these."""
    kept = Journal()
    for number, customer in enumerate(customers):
        token = journal.asking_for.set(customer)
        kept.write(call_of(f"/{number}"))
        journal.asking_for.reset(token)
    return kept


def test_the_journal_tells_each_customer_of_their_own_calls() -> None:
    """In order, from where they know them; what was asked for nobody is not told."""
    kept = written("ada", "grace", "ada", "grace", "ada")
    kept.write(call_of("/for-nobody"))
    first, *others = kept.after("ada", 0)
    assert [call.path for call in (first, *others)] == ["/0", "/2", "/4"]
    assert kept.after("ada", first.number) == others
    assert kept.after("linus", 0) == []


def test_the_journal_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many calls of a customer, and so many customers; who was heard of last longest ago is forgotten."""
    monkeypatch.setattr(journal, "MAX_CALLS", 2)
    monkeypatch.setattr(journal, "MAX_CUSTOMERS", 2)
    kept = written("ada", "grace", "ada", "ada", "linus")
    assert [len(kept.after(customer, 0)) for customer in ("ada", "grace", "linus")] == [2, 0, 1]


def test_a_batch_that_is_sent_in_the_background_is_shown_to_those_it_is_about() -> None:
    """Each sees their own usage in it, and nobody else's."""
    events = [{"end_user_id": customer, "units": units} for customer, units in (("ada", 1), ("grace", 2), ("ada", 3))]
    kept = Journal()
    kept.write(Call("POST", "/v1/usage/batch", "edge", 202, 0.5, {"events": events}, {"results": [{}, {}, {}]}))
    [of_ada], [of_grace] = kept.after("ada", 0), kept.after("grace", 0)
    assert [event["units"] for event in of_ada.asked["events"]] == [1, 3]
    assert [event["units"] for event in of_grace.asked["events"]] == [2]
    assert of_ada.answered is None
