"""The load generator's own books: every key once, however often it was sent and answered."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.load import book as book_module
from loadtests.load.book import Book, BookFull, Contradiction, Entry, Event, Total, differences, read_book, repeated

NAMES = st.sampled_from(["a", "b"])
UNITS = {"1": 5, "2": 7, "3": 11}
"""What belongs to a key is always the same."""
EVENTS = st.builds(
    lambda user, feature, key: Event(user, feature, key, UNITS[key]), NAMES, NAMES, st.sampled_from(sorted(UNITS))
)
TOTALS = st.dictionaries(st.tuples(NAMES, NAMES), st.builds(Total, st.integers(1, 9), st.integers(1, 99)), max_size=4)


def book_of(events: Sequence[Event], *, is_accepted: bool) -> Book:
    """A book of events that were sent and answered, one after the other."""
    book = Book()
    for event in events:
        book.send(event)
        book.decide(event, is_accepted=is_accepted)
    return book


@given(st.lists(EVENTS))
def test_acknowledged_event_counts_once(events: list[Event]) -> None:
    """The totals are those of the different keys, whatever was repeated."""
    totals = book_of(events, is_accepted=True).totals
    expected: dict[Entry, Total] = {}
    for event in set(events):
        expected[event.entry] = expected.get(event.entry, Total(0, 0)).plus(event.units)
    assert totals == expected
    assert book_of(events, is_accepted=True).acknowledged == len(set(events))


@given(st.lists(EVENTS))
def test_refused_event_counts_for_nothing(events: list[Event]) -> None:
    """It is answered, and not in the ledger."""
    book = book_of(events, is_accepted=False)
    assert (book.totals, book.unanswered, book.acknowledged) == ({}, [], 0)


@given(st.lists(EVENTS), st.lists(EVENTS))
def test_unanswered_are_those_that_were_sent_and_never_decided(answered: list[Event], sent: list[Event]) -> None:
    """Each once, whether it was sent before or after others were answered."""
    book = book_of(answered, is_accepted=True)
    for event in sent:
        book.send(event)
    assert sorted(book.unanswered) == sorted(set(sent) - set(answered))


@given(st.lists(EVENTS), st.lists(EVENTS))
def test_book_survives_its_way_to_the_other_process(answered: list[Event], sent: list[Event]) -> None:
    """The sums and what is left to be asked again, and it goes on from there."""
    book = book_of(answered, is_accepted=True)
    for event in sent:
        book.send(event)
    read = read_book(json.loads(json.dumps(book.as_json())))
    assert (read.totals, sorted(read.unanswered)) == (book.totals, sorted(book.unanswered))
    for event in read.unanswered:
        read.decide(event, is_accepted=True)
    assert read.acknowledged == len({*answered, *sent})


def test_two_answers_that_contradict_each_other_are_told() -> None:
    """Accepted and refused under one key is never right."""
    book = book_of([Event("a", "b", "1", 5)], is_accepted=True)
    with pytest.raises(Contradiction, match="1 was accepted, then refused"):
        book.decide(Event("a", "b", "1", 5), is_accepted=False)


def test_book_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has noted may be sent again; what is new ends the run."""
    monkeypatch.setattr(book_module, "MAX_EVENTS", 1)
    book = book_of([Event("a", "b", "1", 5)], is_accepted=True)
    book.send(Event("a", "b", "1", 5))
    with pytest.raises(BookFull, match="make it shorter"):
        book.send(Event("a", "b", "2", 5))


@given(TOTALS, TOTALS)
def test_differences_are_where_the_sums_differ(expected: dict[Entry, Total], found: dict[Entry, Total]) -> None:
    """One line for each entry that one side has otherwise or not at all, and none for the others."""
    wrong = [entry for entry in {*expected, *found} if expected.get(entry) != found.get(entry)]
    assert len(list(differences(expected, found))) == len(wrong)


def test_lost_and_doubled_event_of_different_units_do_not_make_up_for_each_other() -> None:
    """The number of events is right, and the units give it away."""
    assert list(differences({("a", "b"): Total(2, 12)}, {("a", "b"): Total(2, 14)})) == [
        "a, b: acknowledged 2 events of 12 units, in the ledger 2 events of 14 units"
    ]


@given(st.lists(st.sampled_from("abc")))
def test_repeated_keys_are_those_that_come_again(keys: list[str]) -> None:
    """Each is named once."""
    assert repeated(keys) == sorted({key for key in keys if keys.count(key) > 1})


def test_body_says_enforce_only_where_it_is_meant() -> None:
    """What is sent is what a client would send."""
    plain = {"end_user_id": "a", "feature_key": "b", "idempotency_key": "1", "units": 5}
    assert Event("a", "b", "1", 5).body() == plain
    assert Event("a", "b", "1", 5, enforce=True).body() == plain | {"enforce": True}
