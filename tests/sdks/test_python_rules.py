"""Rules of the Python SDK that ask nobody: retries, token pools, signatures, fail modes."""

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.codes import MEANINGS
from quotastack import (
    ClientClosedError,
    ConfigurationError,
    EntitlementCheck,
    FlushReport,
    QuotaStack,
    TokenPools,
    UsageEvent,
    WebhookVerificationError,
    cached,
    token_usage,
    usage_events,
    verify_webhook,
)
from quotastack.errors import IN_FLIGHT, QuotaStackError
from quotastack.events import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    UNDATED_WITHIN,
    batch_body,
    batches,
    is_young,
    new_event,
)
from quotastack.fallback import MAX_REMEMBERED, FailMode, Fallback, question
from quotastack.retries import LONGEST_WAIT_SECONDS, Patience, read_retry_after, wait_before_retry
from quotastack.settings import Settings
from quotastack.verdicts import PASSING, Fate, Verdict, rejected

VECTORS = Path(__file__).parents[2] / "sdks" / "vectors"
SETTINGS = Settings(api_key="qs_test_nobody", url="http://core", edge_url="http://edge")
"""As a client has them that was told nothing else."""


def vectors(name: str) -> list[Any]:
    """The cases that all SDKs share, each with its name."""
    cases = json.loads((VECTORS / name).read_text())
    return [pytest.param(case, id=case["name"]) for case in cases]


# ---- retries


@pytest.mark.parametrize("case", vectors("retries.json"))
def test_retries(case: dict[str, Any]) -> None:
    """Whether, and when, is what all SDKs agree on; chance moves it between the bounds and to them."""
    error = QuotaStackError("", status=case["status"], code=case["code"] or "unknown")
    error.retry_after = read_retry_after(case["retry_after"])
    patience = SETTINGS.check_patience if case["check"] else SETTINGS.patience
    waits = [wait_before_retry(error, case["retries"], patience, chance) for chance in (0.0, 1.0)]
    assert waits == ([case["least_seconds"], case["most_seconds"]] if case["again"] else [None, None])


@given(
    st.integers(1, 100),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e9),
    st.sampled_from([None, 400, 402, 404, 409, 429, 500, 503]),
)
def test_a_wait_has_bounds(retries: int, chance: float, asked: float | None, status: int | None) -> None:
    """Never longer than the client waits, never shorter than the service asks, never for what will not change."""
    error = QuotaStackError("", status=status, retry_after=asked)
    seconds = wait_before_retry(error, retries, Patience(1000, 30.0), chance)
    if status in {400, 402, 404, 409} or (asked or 0) > 30:
        assert seconds is None
    else:
        assert seconds is not None
        assert (asked or 0) <= seconds <= max(asked or 0, LONGEST_WAIT_SECONDS)
    assert wait_before_retry(error, retries, Patience(retries + 1, 30.0), chance) is None


def test_passing_codes() -> None:
    """Those of all SDKs, which are the API's codes that tell callers to come again; and the same of errors."""
    assert sorted(PASSING) == json.loads((VECTORS / "passing_codes.json").read_text())
    again = {429, 500, 503}
    meanings = {code.value: meaning.status for code, meaning in MEANINGS.items()}
    assert {code for code, status in meanings.items() if status in again} | {IN_FLIGHT} == PASSING
    for code, status in meanings.items():
        assert QuotaStackError("", status=status, code=code).is_passing is (code in PASSING)


def test_retry_after_may_be_a_date() -> None:
    """As HTTP allows; a date that is over asks for nothing."""
    now = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
    assert read_retry_after(format_datetime(now.replace(second=7), usegmt=True), now) == 7
    assert read_retry_after(format_datetime(now.replace(hour=8), usegmt=True), now) == 0
    assert read_retry_after("²", now) is None


# ---- tokens


@pytest.mark.parametrize("case", vectors("token_usage.json"))
def test_token_usage(case: dict[str, Any]) -> None:
    """The pools of every provider, as a dict and as its library's object."""
    if case["pools"] is None:
        with pytest.raises(ValueError, match=r"usage|whole numbers"):
            token_usage(case["usage"])
    else:
        assert token_usage(case["usage"]) == token_usage(_Object(case["usage"])) == TokenPools(**case["pools"])


class _Object:
    """Members as attributes."""

    def __init__(self, members: dict[str, Any]) -> None:
        for name, value in members.items():
            setattr(self, name, _Object(value) if isinstance(value, dict) else value)


def test_gemini_as_its_python_library_spells_it() -> None:
    """Which has snake_case."""
    counts = {"prompt_token_count": 10, "cached_content_token_count": 4, "thoughts_token_count": 2}
    usage = _Object(counts | {"total_token_count": 12})
    assert token_usage(usage) == TokenPools(input=6, cached_input=4, reasoning=2)


tokens = st.integers(0, 10**9)


@given(tokens, tokens, tokens, tokens)
def test_no_token_is_lost_or_counted_twice(sent: int, cached_tokens: int, answered: int, reasoning: int) -> None:
    """Whatever part of what is said to be what, the sum is what the provider counts."""
    usage = {
        "prompt_tokens": sent,
        "completion_tokens": answered,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    pools = token_usage(usage)
    assert pools.total == sent + answered
    assert min(pools.input, pools.cached_input, pools.output, pools.reasoning) >= 0


@given(st.builds(TokenPools, input=tokens, cached_input=tokens, cache_write=tokens, output=tokens, reasoning=tokens))
def test_usage_has_every_token_once(pools: TokenPools) -> None:
    """A key is unique per feature: no feature has two events, and pools without a feature count as their kin."""
    for features in (
        {"input": "in", "output": "out"},
        {"input": "in", "cached_input": "cached", "output": "out", "reasoning": "out"},
        {pool: pool for pool in pools.__struct_fields__},
    ):
        events = usage_events("ada", pools, features=features, idempotency_key="k")
        assert sum(event.get("units", 0) for event in events) == pools.total
        assert len({event["feature_key"] for event in events}) == len(events)
        assert all(event.get("units") and event.get("idempotency_key") == "k" for event in events)


@pytest.mark.parametrize("case", vectors("token_events.json"))
def test_token_events(case: dict[str, Any]) -> None:
    """Which usage tokens are; a pool that there is not is refused, for it would be given away."""

    def events() -> list[UsageEvent]:
        return usage_events("ada", TokenPools(**case["pools"]), features=case["features"], idempotency_key="k")

    if case["events"] is None:
        with pytest.raises(ValueError, match="no pool"):
            events()
    else:
        assert [[event["feature_key"], event.get("units")] for event in events()] == case["events"]


# ---- answers


@pytest.mark.parametrize("case", vectors("answers.json"))
def test_answers(case: dict[str, Any]) -> None:
    """Which exception each is, and its code."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(case["status"], text=case["body"])

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        QuotaStack("qs_test_nobody", url="http://core", attempts=1, http=http) as client,
        pytest.raises(QuotaStackError) as heard,
    ):
        client.customer("ada")
    error = heard.value
    assert [type(error).__name__, error.code, error.status] == [case["error"], case["code"], case["status"]]


def test_attempts_of_checks() -> None:
    """Two, and no more than of anything else, unless it is said."""
    settings = {"api_key": "qs_test_nobody", "url": "http://core", "edge_url": "http://edge"}
    for said, attempts in (
        ({}, 2),
        ({"attempts": 1}, 1),
        ({"attempts": 9}, 2),
        ({"attempts": 1, "check_attempts": 3}, 3),
    ):
        assert Settings(**settings, **cast("Any", said)).check_patience.attempts == attempts


# ---- webhooks


@pytest.mark.parametrize("case", vectors("webhooks.json"))
def test_webhooks(case: dict[str, Any]) -> None:
    """Taken exactly where one of the secrets signed it, just now."""

    def verify() -> Any:
        return verify_webhook(case["body"], case["headers"], case["secrets"], now=case["now"])

    if case["valid"]:
        event = verify()
        assert (event.type, event.end_user_id, event.sequence) == ("credits.low", "ada", 17)
        assert event.data["name"] == "Zoë ✓"
    else:
        with pytest.raises(WebhookVerificationError):
            verify()


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_an_empty_secret_signs_nothing(secret: str) -> None:
    """Anybody could sign with it: a variable of the receiver's that is not set would take every webhook."""
    body, signed = b'{"type":"credits.low","timestamp":"2026-11-27T09:30:00Z"}', b"e.1."
    signature = b64encode(hmac.digest(b"", signed + body, "sha256")).decode()
    headers = {"webhook-id": "e", "webhook-timestamp": "1", "webhook-signature": f"v1,{signature}"}
    with pytest.raises(ConfigurationError):
        verify_webhook(body, headers, secret, now=1)


def test_a_secret_that_is_none_is_a_mistake_of_the_receiver() -> None:
    """And is not taken for a forged webhook."""
    headers = {"webhook-id": "e", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    with pytest.raises(ConfigurationError):
        verify_webhook(b"{}", headers, "whsec_not base64", now=1)


# ---- fail modes


def live(allowed: bool = True) -> EntitlementCheck:  # noqa: FBT001, FBT002 - it is all that is said
    """An answer of the service."""
    return EntitlementCheck(allowed=allowed, feature_key="f", units=1, balance=7)


@pytest.mark.parametrize(
    ("mode", "now", "expected"),
    [
        ("open", 0.0, (True, None, "fallback", None)),
        ("closed", 0.0, (False, None, "fallback", "unavailable")),
        (cached(60), 60.0, (True, 7, "cache", None)),
        (cached(60), 60.1, (False, None, "fallback", "unavailable")),
        (cached(60, "open"), 60.1, (True, None, "fallback", None)),
    ],
)
def test_fail_modes(mode: FailMode, now: float, expected: tuple[Any, ...]) -> None:
    """What is answered in the service's place, of all features or of one."""
    asked = question("ada", "f", 1, None)
    for fallback in (Fallback(mode, {}), Fallback("open" if expected[0] is False else "closed", {"f": mode})):
        fallback.remember(asked, live(), 0.0)
        answer = fallback.answer(asked, now)
        assert (answer.allowed, answer.balance, answer.source, answer.reason) == expected


def test_only_the_same_question_has_the_answer() -> None:
    """Of another customer, feature, number of units or of other properties nothing is known."""
    fallback = Fallback(cached(60), {})
    fallback.remember(question("ada", "f", 1, {"a": 1, "b": 2}), live(), 0.0)
    assert fallback.answer(question("ada", "f", 1, {"b": 2, "a": 1}), 1.0).source == "cache"
    for other in (("bob", "f", 1, None), ("ada", "g", 1, None), ("ada", "f", 2, None), ("ada", "f", 1, {"a": 2})):
        assert fallback.answer(question(*other), 1.0).source == "fallback"


def test_what_is_remembered_has_a_bound() -> None:
    """The question that was longest not asked is forgotten."""
    fallback = Fallback(cached(60), {})
    for number in range(MAX_REMEMBERED + 1):
        fallback.remember(question(str(number), "f", 1, None), live(), 0.0)
        assert fallback.answer(question("0", "f", 1, None), 0.0).source == "cache"
    assert fallback.answer(question("1", "f", 1, None), 0.0).source == "fallback"


# ---- batches, events, addresses


@given(st.lists(st.integers(1, 5000), max_size=2500))
def test_batches_have_bounds_and_lose_nothing(sizes: list[int]) -> None:
    """Neither too many events nor too many bytes; all of them, in their order."""
    bodies = [b"x" * size for size in sizes]
    parts = [bodies[part] for part in batches(bodies)]
    assert [body for part in parts for body in part] == bodies
    assert all(1 <= len(part) <= MAX_BATCH_EVENTS and len(batch_body(part)) <= MAX_BATCH_BYTES for part in parts)


def test_an_event_says_when_only_where_it_is_late() -> None:
    """So that a caller who sends the same again is understood; a time that the caller names is always sent."""
    event = new_event({"end_user_id": "ada", "feature_key": "f"})
    assert b"timestamp" not in event.body()
    assert event.timestamp.encode() in event.body(is_late=True)
    named = new_event({"end_user_id": "ada", "feature_key": "f", "timestamp": datetime(2026, 1, 1, tzinfo=UTC)})
    assert b'"timestamp":"2026-01-01T00:00:00Z"' in named.body()
    with pytest.raises(ValueError, match="offset"):
        new_event({"end_user_id": "ada", "feature_key": "f", "timestamp": datetime(2026, 1, 1)})  # noqa: DTZ001


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"end_user_id": 42}, TypeError),
        ({"end_user_id": ""}, ValueError),
        ({"feature_key": None}, TypeError),
        ({"units": "4"}, TypeError),
        ({"units": None}, TypeError),
        ({"units": True}, TypeError),
        ({"units": float("nan")}, ValueError),
        ({"units": Decimal("Infinity")}, ValueError),
        ({"idempotency_key": 77}, TypeError),
        ({"idempotency_key": ""}, ValueError),
        ({"timestamp": 1}, TypeError),
        ({"properties": [1]}, TypeError),
        ({"properties": {"a": object()}}, TypeError),
        ({"enforce": 1}, TypeError),
        ({"featureKey": "f"}, TypeError),
    ],
)
def test_what_can_be_no_event_is_refused_at_once(wrong: dict[str, Any], kind: type[Exception]) -> None:
    """Whether the service is there or not: nobody listens at this address."""
    event: Any = {"end_user_id": "ada", "feature_key": "f"} | wrong
    with QuotaStack("qs_test_nobody", url="http://127.0.0.1:9", attempts=1) as client:
        with pytest.raises(kind):
            client.record_usage_batch([event])
        with pytest.raises(kind):
            client.record_usage(event.pop("end_user_id"), **event)
        assert client.flush() == FlushReport()


@pytest.mark.parametrize("hours", [0, 22, -5])
def test_a_young_event_may_go_without_its_time(hours: int) -> None:
    """The service knows its key still; behind that it is never charged at another time."""
    now = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
    made = new_event({"end_user_id": "ada", "feature_key": "f", "timestamp": now})
    assert is_young(made, now + timedelta(hours=hours))
    assert not is_young(made, now + UNDATED_WITHIN)
    assert not is_young(msgspec.structs.replace(made, timestamp="soon"), now)
    assert timedelta(hours=24) > UNDATED_WITHIN


def test_a_rejected_event_has_the_very_units() -> None:
    """A decimal is no float."""
    made = new_event({"end_user_id": "ada", "feature_key": "f", "units": Decimal("0.1")})
    assert rejected(made, Verdict(Fate.REJECTED)).units == Decimal("0.1")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_leads_elsewhere(name: str) -> None:
    """Of whom `..` is the id, credits would be everybody's."""
    with QuotaStack("qs_test_nobody", url="http://127.0.0.1:9") as client, pytest.raises(ValueError, match="path"):
        client.credits(name)


@pytest.mark.parametrize("path", ["@evil.example/x", "//evil.example", "v1/plans", "", ":80@evil.example/"])
def test_a_path_that_leads_elsewhere(path: str) -> None:
    """The key would go there."""
    with QuotaStack("qs_test_nobody", url="http://127.0.0.1:9") as client, pytest.raises(ValueError, match="slash"):
        client.request("GET", path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": ""},
        {"url": "http://user:password@core"},
        {"edge_url": "http://:password@edge"},
        {"url": "user:password@core"},
        {"url": "http://"},
        {"url": "http://core?x=1"},
        {"url": "http://core:port"},
        {"fail_mode": "opne"},
        {"fail_mode": lambda: "open"},
        {"fail_mode": cached(-1)},
        {"feature_fail_modes": {"f": "Open"}},
        {"feature_fail_modes": {"f": cached(1, cast("Any", "Open"))}},
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 1.5},
        {"timeout": 0},
        {"usage_timeout": "10"},
        {"max_wait": -1},
        {"max_spool_bytes": None},
        {"check_attempts": 0},
        {"max_buffered": 0},
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is too late to find out; and an empty key is not the one of the environment, which may be another's."""
    monkeypatch.setenv("QUOTASTACK_KEY", "qs_test_environment")
    options: dict[str, Any] = {"api_key": "qs_test_nobody", "url": "http://core"} | wrong
    with pytest.raises(ConfigurationError) as refused:
        QuotaStack(**options)
    assert "password@" not in str(refused.value)


def test_a_closed_client_says_so() -> None:
    """Always the same, and it is no outage: neither a fail mode nor the spool takes its place."""
    client = QuotaStack("qs_test_nobody", url="http://127.0.0.1:9", fail_mode="open", attempts=1)
    client.close()
    client.close()
    for verb in (client.check_entitlement, client.record_usage, client.buffer_usage):
        with pytest.raises(ClientClosedError, match="closed"):
            verb("ada", feature_key="f")
    with pytest.raises(ClientClosedError, match="closed"):
        client.record_usage_batch([{"end_user_id": "ada", "feature_key": "f"}])


def test_the_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the client nor by what it is made of; and it has to be there, as has an address."""
    for name in ("QUOTASTACK_KEY", "QUOTASTACK_URL", "QUOTASTACK_EDGE_URL"):
        monkeypatch.delenv(name, raising=False)
    key = {"api_key": "qs_test_secret"}
    wrong: list[dict[str, Any]] = [{}, key, key | {"url": "localhost:8000"}]
    for options in wrong:
        with pytest.raises(ConfigurationError) as refused:
            QuotaStack(**options)
        assert "secret" not in str(refused.value)
    monkeypatch.setenv("QUOTASTACK_KEY", "qs_test_secret")
    monkeypatch.setenv("QUOTASTACK_URL", "http://core")
    with QuotaStack() as client:
        assert "secret" not in repr(client) + repr(vars(client))
