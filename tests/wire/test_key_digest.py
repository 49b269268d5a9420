"""API keys: typing errors are found without a look-up, and only a digest is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.key_digest import ALPHABET, KEY_LENGTH, PREFIXES, SECRET_LENGTH, digest, is_well_formed, make_key
from tests.rules.laws import LAW

kinds = st.sampled_from(list(PREFIXES))
numbers = st.integers(0, len(ALPHABET) ** SECRET_LENGTH - 1)
positions = st.integers(0, KEY_LENGTH - 1)


@LAW
@given(kinds, numbers)
def test_made_keys_are_well_formed(kind: str, number: int) -> None:
    """Every key that is made can be one, names its kind of environment, and has the one length."""
    key = make_key(kind, number)
    assert is_well_formed(key)
    assert key.startswith(PREFIXES[kind])
    assert len(key) == KEY_LENGTH


@LAW
@given(kinds, numbers, positions, st.sampled_from(ALPHABET))
def test_a_wrong_character_is_found(kind: str, number: int, position: int, character: str) -> None:
    """One character typed wrong, anywhere, is no key any more."""
    key = make_key(kind, number)
    typed = key[:position] + character + key[position + 1 :]
    assert is_well_formed(typed) == (typed == key)


@LAW
@given(kinds, numbers, st.integers(0, KEY_LENGTH - 2))
def test_swapped_neighbours_are_found(kind: str, number: int, position: int) -> None:
    """So are two that changed places."""
    key = make_key(kind, number)
    typed = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    assert is_well_formed(typed) == (typed == key)


@LAW
@given(st.text(max_size=60))
def test_other_texts_are_no_keys(text: str) -> None:
    """Whatever is sent is judged without an error."""
    assert not is_well_formed(text)


@LAW
@given(st.tuples(kinds, numbers), st.tuples(kinds, numbers))
def test_each_secret_is_a_key_of_its_own(first: tuple[str, int], second: tuple[str, int]) -> None:
    """No two secrets or kinds share a key."""
    assert (make_key(*first) == make_key(*second)) == (first == second)


@LAW
@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40), numbers, numbers)
def test_digest(pepper: bytes, other_pepper: bytes, number: int, other: int) -> None:
    """32 bytes that depend on the key and on the pepper."""
    key = make_key("live", number)
    stored = digest(pepper, key)
    assert len(stored) == 32
    assert (digest(pepper, make_key("live", other)) == stored) == (other == number)
    assert pepper.rstrip(b"\0") == other_pepper.rstrip(b"\0") or digest(other_pepper, key) != stored


@pytest.mark.parametrize("key", ["qs_test_", "qs_prod_" + "0" * 38, "qs_live_" + "é" * 38, ""])
def test_near_misses(key: str) -> None:
    """Right length or right prefix alone is not enough."""
    assert not is_well_formed(key)
