"""redis-benchmark, with any command: a client in C that does nothing but send it."""

from loadtests.measuring import Run
from loadtests.programs import find, output_of

UNIQUE = b"__rand_int__"
"""redis-benchmark puts another random number of twelve digits in its place each time it sends the command."""
MAX_UNIQUE = 2**31 - 1
FIRST_COMMANDS = 20_000
"""What is sent in the first run, from whose rate follows how much is sent in a number of seconds."""
TIMEOUT_SECONDS = 120
_FIGURES = 7


class RedisBenchmark:
    """One command against one server."""

    def __init__(self, socket_path: str, command: list[bytes], connections: int, pipeline: int = 1) -> None:
        self.under_way = connections * pipeline
        """How often more than asked for the command may be sent at the end."""
        self._command = command
        self._options = ["-s", socket_path, "-c", str(connections), "-P", str(pipeline), "-r", str(MAX_UNIQUE), "--csv"]
        self._rate_per_second: float | None = None

    def drive(self, seconds: int) -> tuple[Run, int]:
        """Send the command for about so many seconds: what came of it, and how often it was sent."""
        count = FIRST_COMMANDS if self._rate_per_second is None else max(1, round(self._rate_per_second * seconds))
        whole = [find("redis-benchmark"), *self._options, "-n", str(count), *self._command]
        run = parse(output_of(whole, TIMEOUT_SECONDS))
        self._rate_per_second = run.rate_per_second
        return run, count


def likely_repeats(count: int) -> int:
    """How many of so many random numbers may well have been there before: ten more than twice what is expected."""
    return 10 + count * count // MAX_UNIQUE


def parse(output: str) -> Run:
    """The last line of the CSV; its first field is the command itself, and may hold anything.

    The figures after it: requests a second, then in milliseconds average, least, p50, p95, p99 and longest.
    """
    figures = output.strip().rsplit('","', _FIGURES)[1:]
    return Run(float(figures[0]), float(figures[3]) * 1000)
