"""Who may try more keys: guesses that were wrong are counted by the address that sent them.

Nobody guesses a key: it has 190 random bits. What is bounded here is what guessing costs those who look keys up, and
how many tokens of an operator's own making can be tried. Moments are microseconds.
"""

from collections import OrderedDict

KEYS_PER_SECOND = 10
KEYS_AT_ONCE = 100
"""Keys that are none and that one address may send to a process: on average, and where it sent none for a while."""
TOKENS_PER_SECOND = 1
TOKENS_AT_ONCE = 20
"""The same of wrong tokens of the operator's."""
MAX_ADDRESSES = 10_000
"""Of which a process remembers that they sent some."""
_SECOND = 1_000_000


class Attempts:
    """Wrong attempts by address: `at_once` after a pause, `per_second` on average.

    Of each of the `most` addresses that failed last there is one moment: the one at which nothing is held against it.
    """

    def __init__(self, per_second: int, at_once: int, most: int) -> None:
        self._interval = _SECOND // per_second
        self._tolerance = self._interval * (at_once - 1)
        self._most = most
        self._forgiven_at: OrderedDict[str, int] = OrderedDict()

    def allows(self, address: str, now: int) -> bool:
        """Whether an attempt from there is looked at."""
        return self._forgiven_at.get(address, now) - now <= self._tolerance

    def fail(self, address: str, now: int) -> None:
        """An attempt from there was wrong."""
        since = max(now, self._forgiven_at.pop(address, now))
        if len(self._forgiven_at) >= self._most:
            self._forgiven_at.popitem(last=False)
        self._forgiven_at[address] = min(since, now + self._tolerance) + self._interval


class Seen:
    """The `most` things that were seen last, and until when something holds of each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def __contains__(self, what: bytes) -> bool:
        return what in self._seen

    def until(self, what: bytes) -> int:
        """The moment that was said of it last; 0 = none."""
        return self._seen.get(what, 0)

    def add(self, what: bytes, until: int = 0) -> None:
        """See it now."""
        self._seen.pop(what, None)
        if len(self._seen) >= self._most:
            self._seen.popitem(last=False)
        self._seen[what] = until


class Guesses:
    """Attempts with keys. One that was looked up before is no guess, whatever it turned out to be.

    One that was wrong is not looked up again for a second.

    So a key that is in use passes from an address where others guess, and a client that goes on sending a key that was
    revoked takes nothing from its neighbours. Keys are named by their digests.
    """

    def __init__(self, attempts: Attempts, most: int) -> None:
        self._attempts = attempts
        self._good = Seen(most)
        self._bad = Seen(most)

    def is_wrong(self, digest: bytes, now: int) -> bool:
        """Whether the key was looked up within the last second, and was none."""
        return now < self._bad.until(digest)

    def allows(self, address: str, digest: bytes, now: int) -> bool:
        """Whether the key is looked up."""
        return digest in self._good or digest in self._bad or self._attempts.allows(address, now)

    def prove_right(self, digest: bytes) -> None:
        """There is such a key."""
        self._good.add(digest)
        if digest in self._bad:
            self._bad.add(digest)

    def prove_wrong(self, address: str, digest: bytes, now: int) -> None:
        """There is no such key, or not any more."""
        if digest not in self._bad and digest not in self._good:
            self._attempts.fail(address, now)
        self._bad.add(digest, now + _SECOND)
