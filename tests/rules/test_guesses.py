"""How many wrong keys an address may try, and what is no guess."""

from hypothesis import given
from hypothesis import strategies as st

from app.rules.guesses import Attempts, Guesses, Seen
from app.rules.seldom import Seldom

SECOND = 1_000_000
PER_SECOND, AT_ONCE, MOST = 2, 5, 3
moments = st.lists(st.integers(0, SECOND), max_size=60)


def passed(attempts: Attempts, gaps: list[int], address: str = "a") -> list[int]:
    """The moments at which a wrong attempt from the address was let through, of one after each gap."""
    now, through = 0, list[int]()
    for gap in gaps:
        now += gap
        if attempts.allows(address, now):
            attempts.fail(address, now)
            through.append(now)
    return through


@given(moments)
def test_no_stretch_of_time_has_more_than_its_share(gaps: list[int]) -> None:
    """Whatever is tried, in any stretch of it at most `at_once` pass, and `per_second` for each second besides."""
    through = passed(Attempts(PER_SECOND, AT_ONCE, MOST), gaps)
    for first, start in enumerate(through):
        for last, end in enumerate(through[first:], first):
            assert last - first + 1 <= AT_ONCE + (end - start) * PER_SECOND / SECOND


@given(moments)
def test_who_waits_may_try_again(gaps: list[int]) -> None:
    """Right after any history an interval's wait is enough, and what was not let through lengthens nothing."""
    attempts = Attempts(PER_SECOND, AT_ONCE, MOST)
    passed(attempts, gaps)
    assert attempts.allows("a", sum(gaps) + SECOND // PER_SECOND)


def test_failures_that_are_not_asked_about_do_not_pile_up() -> None:
    """Twins that were let through together cost no more than one interval's wait."""
    attempts = Attempts(PER_SECOND, AT_ONCE, MOST)
    for _ in range(100):
        attempts.fail("a", 0)
    assert not attempts.allows("a", 0)
    assert attempts.allows("a", SECOND // PER_SECOND)


def test_addresses_do_not_pay_for_each_other() -> None:
    """One that has no attempts left says nothing of the others; the one that failed longest ago is forgotten first."""
    attempts = Attempts(PER_SECOND, AT_ONCE, MOST)
    passed(attempts, [0] * 10)
    assert not attempts.allows("a", 0)
    for address in ("b", "c", "d"):
        assert attempts.allows(address, 0)
        attempts.fail(address, 0)
    assert attempts.allows("a", 0)


def test_what_was_seen_last_is_kept() -> None:
    """So many things, and no more."""
    seen = Seen(2)
    for what in (b"a", b"b", b"a", b"c"):
        seen.add(what)
    assert [what in seen for what in (b"a", b"b", b"c")] == [True, False, True]


def test_a_key_that_was_looked_up_before_is_no_guess() -> None:
    """A good one passes where others guess, a bad one costs an attempt once, and a good one that ends costs none."""
    guesses = Guesses(Attempts(PER_SECOND, 2, MOST), 10)
    guesses.prove_right(b"good")
    for _ in range(5):
        guesses.prove_wrong("a", b"bad", 0)
    assert guesses.allows("a", b"other", 0)
    guesses.prove_wrong("a", b"worse", 0)
    assert not guesses.allows("a", b"other", 0)
    assert all(guesses.allows("a", key, 0) for key in (b"good", b"bad", b"worse"))
    assert guesses.allows("b", b"other", 0)
    guesses.prove_wrong("b", b"good", 0)
    guesses.prove_wrong("b", b"first", 0)
    assert guesses.allows("b", b"other", 0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100)), max_size=50))
def test_seldom_is_once_in_a_while(comings: list[tuple[str, int]]) -> None:
    """Of each thing, any two that go through are apart by the while, and none is held back longer."""
    seldom, now = Seldom[str](60, 10), 0
    last: dict[str, int] = {}
    for thing, gap in comings:
        now += gap
        is_due = thing not in last or now >= last[thing] + 60
        assert seldom.is_due(thing, now) == is_due
        if is_due:
            last[thing] = now


def test_seldom_forgets_the_oldest_and_minds_no_clock_that_goes_back() -> None:
    """Either lets a thing through once too often."""
    seldom = Seldom[str](60, 1)
    assert [seldom.is_due(thing, 100) for thing in "aba"] == [True, True, True]
    assert seldom.is_due("a", 99)


def test_what_was_wrong_is_not_looked_up_again_for_a_second() -> None:
    """However often it is sent; and not longer, nor once it is right."""
    guesses = Guesses(Attempts(PER_SECOND, AT_ONCE, MOST), MOST)
    assert not guesses.is_wrong(b"k", 0)
    guesses.prove_wrong("a", b"k", 0)
    assert [guesses.is_wrong(b"k", at) for at in (0, SECOND - 1, SECOND)] == [True, True, False]
    assert not guesses.is_wrong(b"other", 0)
    guesses.prove_right(b"k")
    assert not guesses.is_wrong(b"k", 0)
