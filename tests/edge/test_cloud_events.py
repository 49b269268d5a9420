"""What a CloudEvent says, and what a feature reads in it: laws, and cases as tables."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO, from_micro
from app.rules.moments import to_rfc3339
from app.wire.codes import Code
from edge.cloud_events import MAX_ATTRIBUTE, CloudEvent, idempotency_key, read_cloud_batch, read_cloud_event
from edge.decoding import MAX_BATCH_EVENTS, MAX_IDEMPOTENCY_KEY, MAX_PROPERTIES_BYTES
from edge.refusals import Refusal
from tests.rules.laws import LAW

GOOD = {"specversion": "1.0", "id": "1", "source": "app", "type": "call", "subject": "user_1"}
attributes = st.text(min_size=1, max_size=MAX_ATTRIBUTE) | st.text("ab ,", min_size=1, max_size=4)


def read(**changed: Any) -> CloudEvent:
    """A good event with these members, or without those that are ...."""
    members = {name: value for name, value in {**GOOD, **changed}.items() if value is not ...}
    return read_cloud_event(encode(members))


def encode(members: dict[str, Any]) -> bytes:
    """JSON, with decimals as numbers."""
    return msgspec.json.Encoder(decimal_format="number").encode(members)


def refusal_of(work: Any) -> tuple[Code, list[str]]:
    """The code that it is refused with, and the fields that are named."""
    with pytest.raises(Refusal) as caught:
        work()
    return caught.value.code, [error.field for error in caught.value.errors]


@LAW
@given(st.tuples(attributes, attributes), st.tuples(attributes, attributes))
@example(("a b", "c"), ("a", "b c"))
@example(("a", "b"), ("a", "b\u00a0"))
def test_a_key_is_of_one_source_and_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Every pair has a key that usage can have, equal pairs have the same, and others have others."""
    key = idempotency_key(*one)
    assert 0 < len(key) <= MAX_IDEMPOTENCY_KEY
    assert key.isprintable()
    assert (key == idempotency_key(*other)) == (one == other)


def test_a_key_stays_as_it_is() -> None:
    """A retry after an update is still a retry; what is short can be read."""
    assert idempotency_key("litellm-proxy", "chatcmpl-1") == "litellm-proxy chatcmpl-1"
    long = idempotency_key("s", "x" * 255)
    assert long == "sha256:fc79b1cc31cc7352d056025303daeb10a8083bd7f52de662c3c2ca683cc89934"


@LAW
@given(st.integers(1, MAX_UNITS_MICRO))
def test_a_number_is_read_as_it_is_meant(units_micro: int) -> None:
    """As a JSON number and as a text, to the millionth; the moment to the microsecond."""
    number = from_micro(units_micro)
    event = read(time=to_rfc3339(units_micro), data={"n": number, "deep": {"er": str(number)}})
    for units_from in ("n", "deep.er"):
        usage = event.usage("f", units_from)
        assert usage is not None
        assert (usage.units_micro, usage.occurred_at) == (units_micro, units_micro)
        assert (usage.end_user_id, usage.feature_key, usage.idempotency_key) == ("user_1", "f", "app 1")
        assert not usage.enforce


@pytest.mark.parametrize(
    ("data", "units_from", "units"),
    [
        (..., None, 1),
        (None, None, 1),
        ({}, None, 1),
        ({"units": None}, None, 1),
        ("a text", None, 1),
        ([1, 2], None, 1),
        (7, None, 1),
        ({"units": 3}, None, 3),
        ({"units": 3}, "units", 3),
        ({"units": "1e3"}, None, 1000),
        ({"units": 2.5}, None, Decimal("2.5")),
        ({"units": 4.0}, None, 4),
        ({"units": 0}, None, None),
        ({"units": "0.0"}, None, None),
        ({"units": -0.0}, None, None),
        ({"a": {"b": {"c": 5}}}, "a.b.c", 5),
        ({"größe": 6}, "größe", 6),
        ({"a b": 7}, "a b", 7),
    ],
)
def test_units(data: Any, units_from: str | None, units: Any) -> None:
    """One where the usual member is missing, nothing where it is zero, else what it says."""
    usage = read(data=data).usage("f", units_from)
    assert (None if usage is None else from_micro(usage.units_micro)) == units


@pytest.mark.parametrize(
    ("data", "units_from", "field"),
    [
        (..., "tokens", "data.tokens"),
        (None, "units", "data.units"),
        ({"tokens": None}, "tokens", "data.tokens"),
        ({"usage": {"total": 1}}, "usage.tokens", "data.usage.tokens"),
        ({"usage": 5}, "usage.tokens", "data.usage.tokens"),
        ({"usage.tokens": 5}, "usage.tokens", "data.usage.tokens"),
        ("tokens", "tokens", "data.tokens"),
        ({"units": True}, None, "data.units"),
        ({"units": "many"}, None, "data.units"),
        ({"units": ""}, None, "data.units"),
        ({"units": "true"}, None, "data.units"),
        ({"units": "null"}, None, "data.units"),
        ({"units": "NaN"}, None, "data.units"),
        ({"units": '"1"'}, None, "data.units"),
        ({"units": [1]}, None, "data.units"),
        ({"units": {"n": 1}}, None, "data.units"),
        ({"units": -1}, None, "data.units"),
        ({"units": "-0.5"}, None, "data.units"),
        ({"units": 0.0000001}, None, "data.units"),
        ({"units": 10**9 + 1}, None, "data.units"),
        ({"units": 10**4000}, None, "data.units"),
        ({"units": "1e99999999999999999999"}, None, "data.units"),
        ({"units": "1" * 100}, None, "data.units"),
    ],
)
def test_units_that_are_none(data: Any, units_from: str | None, field: str) -> None:
    """Refused with the name of the member, which may be missing only where nobody said that it is there."""
    event = read(data=data)
    assert refusal_of(lambda: event.usage("f", units_from)) == (Code.INVALID_UNITS, [field])


@pytest.mark.parametrize(
    ("changed", "code", "fields"),
    [
        ({"specversion": "0.3"}, Code.INVALID_VALUE, ["specversion"]),
        ({"specversion": "1.0.2"}, Code.INVALID_VALUE, ["specversion"]),
        ({"specversion": 1.0}, Code.INVALID_BODY, ["specversion"]),
        ({"specversion": ...}, Code.INVALID_BODY, ["specversion"]),
        ({"id": ...}, Code.INVALID_BODY, ["id"]),
        ({"id": ""}, Code.INVALID_VALUE, ["id"]),
        ({"id": 5}, Code.INVALID_BODY, ["id"]),
        ({"id": "x" * (MAX_ATTRIBUTE + 1)}, Code.INVALID_VALUE, ["id"]),
        ({"source": ...}, Code.INVALID_BODY, ["source"]),
        ({"source": "a\nb"}, Code.INVALID_VALUE, ["source"]),
        ({"type": ...}, Code.INVALID_BODY, ["type"]),
        ({"type": ""}, Code.INVALID_VALUE, ["type"]),
        ({"subject": ...}, Code.INVALID_BODY, ["subject"]),
        ({"subject": None}, Code.INVALID_BODY, ["subject"]),
        ({"subject": ""}, Code.INVALID_VALUE, ["subject"]),
        ({"subject": "x" * 257}, Code.INVALID_VALUE, ["subject"]),
        ({"time": "yesterday"}, Code.INVALID_VALUE, ["time"]),
        ({"time": "2026-11-23T18:00:00"}, Code.INVALID_VALUE, ["time"]),
        ({"time": 1}, Code.INVALID_BODY, ["time"]),
        ({"data_base64": "MQ=="}, Code.INVALID_VALUE, ["data_base64"]),
    ],
)
def test_attributes_that_cannot_be(changed: dict[str, Any], code: Code, fields: list[str]) -> None:
    """Refused with the name of the attribute."""
    assert refusal_of(lambda: read(**changed)) == (code, fields)


@pytest.mark.parametrize(
    "changed",
    [
        {"time": None},
        {"data": None},
        {"data_base64": None},
        {"datacontenttype": "application/json", "dataschema": "https://example.com/schema"},
        {"datacontenttype": None, "traceparent": "00-1", "partitionkey": 5, "any": {"thing": [1]}},
    ],
)
def test_what_is_null_is_not_there_and_extensions_are_passed_over(changed: dict[str, Any]) -> None:
    """The event is the same with them and without."""
    assert read(**changed) == read()


def test_data_is_kept_where_it_fits() -> None:
    """As it was sent, to the byte; larger data is refused, and data that is no object has nothing to keep."""
    sent = (
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u","data": {"units": 2,\n "m":"\xc3\xa4"} }'
    )
    assert read_cloud_event(sent).properties == '{"units": 2,\n "m":"ä"}'
    room = MAX_PROPERTIES_BYTES - len(encode({"n": 2, "x": ""}))
    assert read(data={"n": 2, "x": "y" * room}).properties is not None
    assert refusal_of(lambda: read(data={"n": 2, "x": "y" * (room + 1)})) == (Code.INVALID_VALUE, ["data"])
    assert [read(data=data).properties for data in ("a text", [1], 5, None)] == [None] * 4


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INVALID_BODY),
        (b"{", Code.MALFORMED_JSON),
        (b'{"specversion":"1.0","data":{"a":NaN}}', Code.MALFORMED_JSON),
        (b'{"specversion":"1.0","id":"\xff"}', Code.MALFORMED_JSON),
        (b"[]", Code.INVALID_BODY),
        (b"7", Code.INVALID_BODY),
        (b"null", Code.INVALID_BODY),
    ],
)
def test_bodies_that_are_no_event(body: bytes, code: Code) -> None:
    """Refused as what they are."""
    assert refusal_of(lambda: read_cloud_event(body))[0] == code


def test_batches() -> None:
    """An array, which may be empty, of so many events; what they are shows one by one."""
    assert read_cloud_batch(b"[]") == []
    assert [bytes(event) for event in read_cloud_batch(b'[{"a": 1}, 7]')] == [b'{"a": 1}', b"7"]
    many = b"[" + b",".join([b"1"] * MAX_BATCH_EVENTS) + b"]"
    assert len(read_cloud_batch(many)) == MAX_BATCH_EVENTS
    assert refusal_of(lambda: read_cloud_batch(many[:-1] + b",1]"))[0] == Code.BATCH_TOO_LARGE
    assert refusal_of(lambda: read_cloud_batch(b'{"events": []}'))[0] == Code.INVALID_BODY
